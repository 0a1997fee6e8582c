"""The ways in: the command line, and later HTTP and the ModelJob controller."""
