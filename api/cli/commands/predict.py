"""``klever predict``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klever.api.cli import options, output
from klever.steps.errors import NotFoundError, ServingError, storage_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from klever.api.serving.local.record import Asked, Standing
    from klever.steps.model.signature import Signature
    from klever.steps.serving.v2 import Values

#: Values of an output that a line shows.
_SHOWN = 8


@click.command("predict")
@click.argument("target", metavar="NAME_OR_REFERENCE")
@click.option("--random", "at_random", is_flag=True, help="Ask with values made from the signature.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of --random.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Rows of --random.")
@click.option(
    "--input",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON file, or a file of numpy's (.npz).",
)
@click.option(
    "--output",
    "result",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the predictions into a .npz file of numpy's, or as JSON.",
)
@click.option("--snippet", metavar="KIND", help="Show the lines that ask the same: curl, python or tritonclient.")
@options.as_json
def command(
    target: str,
    at_random: bool,
    seed: int,
    batch: int,
    source: Path | None,
    result: Path | None,
    snippet: str | None,
    as_json: bool,
) -> None:
    """Ask a model that is served on this machine, by the name of its serving or by the reference it was made from.

    A JSON file holds the inputs by name, {"x": [[1.0, 2.0]]}, or a whole request of the Open Inference Protocol.

    \b
    Example:
      klever predict resnet --random
      klever predict resnet --input picture.npz --output classes.npz
      klever predict resnet --random --snippet python
    """
    if at_random == (source is not None):
        raise click.UsageError("give either --random or --input FILE")
    from klever.api.serving.ask import examples, infer
    from klever.api.serving.local.record import State
    from klever.steps.model.signature import Signature
    from klever.steps.serving.snippets import snippet as lines_for

    asked, standing = _find(target)
    if standing.state is not State.READY:
        raise ServingError(
            f"{asked.name} is {standing.state}", stage="predict", next_step=f"klever serving start {asked.name}"
        )
    signature = Signature.model_validate(dict(asked.signature))
    inputs = _read(source, signature) if source else examples(asked.protocol, signature, batch=batch, seed=seed)
    if snippet:
        click.echo(lines_for(snippet, standing.url, asked.name, inputs, asked.protocol))
        return
    outputs = infer(standing.url, asked.name, asked.protocol, inputs)
    if result is not None:
        _write(result, outputs)
    if as_json:
        output.print_json({"outputs": [each.to_json() for each in outputs]})
        return
    for each in outputs:
        shown = ", ".join(str(value) for value in each.data[:_SHOWN]) + (", ..." if len(each.data) > _SHOWN else "")
        click.echo(output.visible(f"{each.name}  {each.datatype} {list(each.shape)}  {shown}"))


def _find(target: str) -> "tuple[Asked, Standing]":
    """Return the serving of that name, or the one that was made from that reference."""
    from klever.api.serving.local import control

    found = [(place, asked) for place, asked in control.list_all() if target in (asked.name, asked.reference)]
    if not found:
        raise NotFoundError(f"nothing is served as {target}", next_step=f"klever deploy {target}")
    if len(found) > 1:
        names = ", ".join(asked.name for _, asked in found)
        raise ServingError(f"{target} is served as {names}", next_step="say which by its name")
    ((place, asked),) = found
    return asked, place.read_standing()


def _read(source: Path, signature: "Signature") -> "list[Values]":
    from klever.steps.serving.inputs import parse_inputs, values_of_arrays

    if source.suffix == ".npz":
        import numpy as np

        try:
            # Never with pickles: a file of arrays is data.
            with np.load(source, allow_pickle=False) as arrays:
                return values_of_arrays({name: arrays[name] for name in arrays.files}, signature)
        except (OSError, ValueError) as error:
            raise ServingError(f"{source} is no file of numpy's arrays: {error}") from error
    try:
        document = json.loads(source.read_bytes())
    except OSError as error:
        raise storage_error(f"cannot read {source}", error) from error
    except ValueError as error:
        raise ServingError(f"{source} is no JSON: {error}") from error
    return parse_inputs(document, signature)


def _write(result: Path, outputs: "Sequence[Values]") -> None:
    if result.suffix != ".npz":
        result.write_text(json.dumps({"outputs": [each.to_json() for each in outputs]}), encoding="utf-8")
        return
    import numpy as np

    from klever.steps.serving.datatypes import dtype_of

    arrays = {}
    for each in outputs:
        kind = dtype_of(each.datatype)
        data = np.array(each.data, dtype=str if kind == "object" else kind)
        arrays[each.name] = data.reshape(each.shape)
    np.savez(result, allow_pickle=False, **arrays)
