"""Read a model's signature, convert it, and print a sentence that a chat could be sent.

klever run examples/pipelines/nightly.py -p model=vision/resnet:v1
klever run examples/pipelines/nightly.py -p model=harbor.example/vision/resnet:v1 --on argo --wait
"""

from hera.workflows import DAG, Parameter, Workflow, script

from klever.workflows.parts import convert, extract, output


@script(image="docker.io/klever/steps:1.0.0", command=["python"])
def announce(reference: str, level: str) -> None:
    """Print what was made."""
    print(f"{reference} is ready, {level}")  # noqa: T201 - a script's output is its result


with Workflow(generate_name="nightly-", entrypoint="main", arguments=[Parameter(name="model")]) as nightly:
    with DAG(name="main"):
        read = extract("read", model="{{workflow.parameters.model}}")
        made = convert("convert", model=output(read, "reference"), to="ONNX")
        told = announce(
            name="announce", arguments={"reference": output(made, "reference"), "level": output(made, "level")}
        )
        _ = read >> made >> told
