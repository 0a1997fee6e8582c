"""Where TensorFlow finds a SavedModel: it insists on names that a file in a store need not have."""

import os
import tempfile

NAME = "saved_model.pb"


def directory_of(path: str) -> str:
    """Return the directory of the SavedModel whose graph is the file ``path``; a view of it where that is misnamed."""
    directory, name = os.path.split(path)
    if name == NAME:
        return directory
    view = tempfile.mkdtemp(prefix="savedmodel-")
    for other in os.listdir(directory):
        os.symlink(os.path.join(directory, other), os.path.join(view, NAME if other == name else other))
    return view
