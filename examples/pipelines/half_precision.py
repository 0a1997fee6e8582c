"""Convert a model twice at the same time, once in half precision, and refuse both unless they ran.

klever run examples/pipelines/half_precision.py -p model=vision/resnet:v1
"""

from hera.workflows import DAG, Parameter, Workflow

from klever.workflows.parts import convert

MODEL = "{{workflow.parameters.model}}"

with Workflow(generate_name="half-precision-", entrypoint="main", arguments=[Parameter(name="model")]) as pipeline:
    with DAG(name="main"):
        convert("full", model=MODEL, to="ONNX", publish_as=f"{MODEL}-full", require="executed")
        convert("half", model=MODEL, to="ONNX", publish_as=f"{MODEL}-half", dtype="float16", require="executed")
