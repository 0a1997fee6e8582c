"""Programs that run in environments of their own, each with one framework; nothing in Klever imports them.

A program is a module with ``run(request, progress)``: plain JSON values in and out, no import from Klever, so that an
environment needs the framework and nothing else. `main` starts one: ``python main.py PROGRAM REQUEST REPLY``.
"""
