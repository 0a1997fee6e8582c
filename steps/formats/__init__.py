"""Formats: how each is recognised, which files it needs, and how its signature is read from its bytes.

One module or package a format, named by the format's id in lower case, which imports no other format and never the
format's own framework. A package keeps recognition in ``__init__`` and imports its reader when asked to read.
"""
