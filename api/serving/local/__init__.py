"""Serve models on this machine, each by a supervised process on a loopback port.

A serving is a directory below ``KLEVER_HOME``: what is served and how (`record`), the server's own directory, and its
log. Its supervisor (`supervise`) is a process of its own that outlives whoever started it; `control` starts, finds and
ends it. What does not belong here: asking a server for predictions.
"""
