"""Serve a model: which server takes it, what the server's directory has to hold, and what a platform is told.

Everything here is a function of a model's signature, its metadata and the names of its files. What does not belong
here: a registry, a cluster, a process; and the conversion that a model needs before a server takes it.
"""
