Ç±
Ë›
^
AssignVariableOp
resource
