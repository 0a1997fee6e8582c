"""The work itself, as plain functions of values, files and a registry.

A verb is a module:

    >>> from pathlib import Path
    >>> from klever.steps.oci.reference import parse_reference
    >>> from klever.steps.publish import publish
    >>> from klever.steps.stores import Stores
    >>> publish(Path("resnet.onnx"), parse_reference("vision/resnet:v1"), Stores())  # doctest: +SKIP

What does not belong here: Hera, FastAPI, Kubernetes, prints, global state. Nothing is imported before it is used.
"""
