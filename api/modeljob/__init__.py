"""The custom resource ModelJob: its model, its definition for the API server, its meaning and its status."""
