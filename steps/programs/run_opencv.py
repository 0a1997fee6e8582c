"""Run a Caffe model in OpenCV's own reader of Caffe, for its proof; see the folder's docstring for request and reply.

OpenCV names what a layer computes by the layer, Caffe by the blob: ``producers`` maps a blob to the last layer that
writes it and the place among that layer's blobs. ``ranks`` maps a blob to its number of axes, where it is known.
``path`` is the prototxt in its deployed form, ``weights`` the caffemodel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from arrays import load, save


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run the model once on the processor."""
    progress(0.0, "starting OpenCV")
    import cv2

    try:
        return _run(cv2, request, progress)
    except cv2.error as error:
        # OpenCV writes its version, the place in its source and a number before what happened.
        told = str(error).partition("error: ")[2].partition(") ")[2] or str(error)
        return {"refused": "OpenCV does not run this network: %s" % " ".join(told.split())}


def _run(cv2: Any, request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    progress(0.1, "loading the model")
    net = cv2.dnn.readNetFromCaffe(request["path"], request["weights"])
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    # Winograd's convolutions round more coarsely than the sums that they stand for.
    if hasattr(net, "enableWinograd"):
        net.enableWinograd(False)
    for name, array in load(request["inputs"]).items():
        net.setInput(np.ascontiguousarray(array, dtype=np.float32), name)
    progress(0.5, "running the model")
    producers = {name: tuple(place) for name, place in request["producers"].items()}
    layers = list(dict.fromkeys(layer for layer, _ in producers.values()))
    computed = dict(zip(layers, net.forwardAndRetrieve(layers)))
    ranks = request.get("ranks", {})
    outputs = {name: _ranked(computed[layer][index], ranks.get(name)) for name, (layer, index) in producers.items()}
    save(request["outputs"], outputs)
    return {"runtime": "OpenCV", "version": cv2.__version__, "outputs": list(outputs)}


def _ranked(value: Any, rank: int | None) -> Any:
    """Return an array without the second axis that OpenCV gives to what has one."""
    array = np.array(value)
    while rank is not None and array.ndim > max(rank, 1) and array.shape[-1] == 1:
        array = array[..., 0]
    return array
