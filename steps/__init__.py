"""The work itself, as plain functions of values, files and a registry."""
