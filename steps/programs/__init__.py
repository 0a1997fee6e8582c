"""Programs that run in environments of their own, each with one framework; nothing in Klever imports them.

A program is a module with ``run(request, progress)``: plain JSON values in and out, files by absolute path, no import
from Klever, so that an environment needs the framework and nothing else. It returns a dict; to refuse its input it
returns ``{"refused": "one clear sentence"}``, with ``"unsafe": True`` where loading would run what the file says, or
``"operators": {type: [node, ...]}`` where it cannot carry these over, and ``"next"`` for what to do. Any exception is a
failure. `main` starts one: ``python main.py PROGRAM REQUEST REPLY``. Modules here import each other by their bare
names, since the folder itself is on the path.

A program that runs a model for its proof, ``run_*``, takes

    {"format": "MXNetParams", "path": the first claimed file, "files": {name in the model: path of each claimed file},
     "input_names": [...], "inputs": npz to read, "fetches": [names of the outputs that are asked for],
     "outputs": npz to write}

and returns ``{"runtime": "MXNet", "version": "1.9.1", "outputs": [name, ...]}``, in the model's order. The keys of both
npz are names of the signature; `arrays` reads and writes them. It may return more outputs than were asked for, and
refuses a model that would run code of its own.
"""
