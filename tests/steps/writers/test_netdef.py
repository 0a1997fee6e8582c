"""NetDefs written, read again by the format's own reader."""

from pathlib import Path

import numpy as np
import pytest

from klever.steps.errors import ConversionError, StorageDeniedError, StorageError
from klever.steps.files import FileSource, LocalFiles
from klever.steps.formats.netdef.graph import Operator, read_net
from klever.steps.formats.table import load_format
from klever.steps.writers.netdef import INIT_NET, PREDICT_NET, VALUE_INFO, build_operator, write_net, write_value_info
from klever.steps.writers.protobuf import Stream


def test_operators_are_read_as_they_were_written(tmp_path: Path) -> None:
    arguments = {"axis": -2, "alpha": 0.5, "order": "NCHW", "pads": (1, 0, 2), "scales": (1.5, 2.0), "shape": ()}
    written = build_operator("Conv", ["x", "w"], ["y"], "layer", arguments)
    write_net(tmp_path / "net.pb", "net", [written], ["x", "w"], ["y"])
    net = read_net(FileSource(tmp_path / "net.pb"))
    (operator,) = net.operators
    assert (net.name, net.external_inputs, net.external_outputs) == ("net", ("x", "w"), ("y",))
    assert operator[:3] == Operator("Conv", ("x", "w"), ("y",))[:3]
    assert (operator.integer("axis"), operator.number("alpha"), operator.text("order")) == (-2, 0.5, "NCHW")
    assert (operator.integers("pads"), operator.arguments["scales"].floats) == ((1, 0, 2), (1.5, 2.0))
    assert operator.arguments["shape"].ints == ()


def test_a_model_written_is_recognised_with_the_shapes_of_its_inputs(tmp_path: Path) -> None:
    weight = np.arange(6, dtype="<f4").tobytes()
    fill = build_operator(
        "GivenTensorFill", [], ["w"], "", {"shape": (2, 3), "values": Stream(len(weight), lambda: [weight])}
    )
    write_net(tmp_path / INIT_NET, "net_init", [fill])
    write_net(tmp_path / PREDICT_NET, "net", [build_operator("Add", ["x", "w"], ["y"])], ["x", "w"], ["y"])
    write_value_info(tmp_path / VALUE_INFO, {"x": (-1, 2, 3), "unknown": None})
    files = LocalFiles.below(tmp_path)
    form = load_format("NetDef")
    claim = form.claim(files)
    assert claim is not None
    assert set(claim.files) == {INIT_NET, PREDICT_NET, VALUE_INFO}
    signature = form.read(files, claim, None).signature
    assert [(each.name, each.dtype, each.shape) for each in signature.inputs or ()] == [("x", "float32", (-1, 2, 3))]
    assert [(each.name, each.shape) for each in signature.outputs or ()] == [("y", (-1, 2, 3))]


def test_a_net_that_no_parser_would_take_is_not_written(tmp_path: Path) -> None:
    huge = build_operator("GivenTensorFill", [], ["w"], "", {"values": Stream(2**31, list)})
    with pytest.raises(ConversionError, match="2 GiB"):
        write_net(tmp_path / INIT_NET, "net", [huge])


def test_a_directory_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises((StorageError, StorageDeniedError)):
        write_net(tmp_path / "no" / INIT_NET, "net", [])
