"""ONNX models, built node by node and written without their weights ever being in memory together.

>>> import numpy
>>> graph = GraphBuilder("line", opset=17)
>>> x = graph.input("x", "float32", (-1, 3))
>>> y = graph.add("Mul", [x, graph.weight("slope", Weight.of(numpy.ones(3, "float32")))], outputs=["y"])
>>> graph.output(y, "float32", (-1, 3))
>>> write_model(graph, Path("line.onnx"))  # doctest: +SKIP
"""

from klever.steps.writers.onnx.graph import GraphBuilder
from klever.steps.writers.onnx.model import write_model
from klever.steps.writers.onnx.weight import Weight

__all__ = ["GraphBuilder", "Weight", "write_model"]
