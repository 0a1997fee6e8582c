"""Show that a converted model computes what its source does: run both on the same inputs and compare.

    evidence = prove(source, result, level=Level.COMPARED, seed=0)

What does not belong here: whether that is enough, which is for `klever.steps.convert` to say; what a runtime is called
with, beyond its program.
"""

from klever.steps.proof.interface import Evidence, Subject
from klever.steps.proof.prove import prove
from klever.steps.proof.runners import needed_environments

__all__ = ["Evidence", "Subject", "needed_environments", "prove"]
