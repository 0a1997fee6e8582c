"""TorchScript beyond the conformance suite: the corpus with its oracles, names, shapes that follow, refusals."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import MalformedModelError, ModelError, UnsafeModelError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.torchscript import FORMAT
from klever.steps.formats.torchscript.code import Type, parse_type
from klever.steps.model.signature import Signature, Tensor

CASES = (
    "lstm_dict_scripted_torch215",
    "mobilenetv2_035_scripted_torch171",
    "mobilenetv2_035_scripted_torch215",
    "mobilenetv2_035_traced_torch171",
    "two_in_two_out_scripted_torch171",
    "two_in_two_out_traced_torch171",
    "two_in_two_out_traced_torch215",
)


def read(files: MemoryFiles | LocalFiles, author: Signature | None = None) -> Reading:
    claim = FORMAT.claim(files)
    assert claim is not None
    return FORMAT.read(files, claim, author)


def model(path: Path) -> MemoryFiles:
    return MemoryFiles({"model.pt": path.read_bytes()})


@pytest.mark.corpus
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_author", [False, True])
def test_the_corpus_agrees_with_what_pytorch_computed(shared: Path, case: str, with_author: bool) -> None:
    folder = shared / "corpus" / "TorchScript" / case
    meta: dict[str, Any] = json.loads((folder / "oracle" / "meta.json").read_text())
    given = tuple(Tensor(name=n, dtype=d, shape=s) for n, (s, d) in meta["inputs"].items())
    signature = read(LocalFiles.below(folder / "model"), Signature(inputs=given) if with_author else None).signature
    for kind, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        assert [tensor.name.upper() for tensor in tensors or ()] == list(meta[kind])
        for tensor, (shape, dtype) in zip(tensors or (), meta[kind].values(), strict=True):
            assert tensor.dtype in (None, dtype)
            if tensor.shape is not None:
                assert len(tensor.shape) == len(shape)
                assert all(ours in (-1, theirs) for ours, theirs in zip(tensor.shape, shape, strict=True))


def test_outputs_follow_from_the_authors_input_shapes(models: Path) -> None:
    files = model(models / "TorchScript" / "resnet_traced_torch17" / "model" / "model.pt")
    author = Signature(inputs=(Tensor(name="INPUT__0", dtype="float32", shape=(2, 3, 64, 64)),))
    outputs = read(files, author).signature.outputs
    assert outputs is not None
    assert (outputs[0].dtype, outputs[0].shape) == ("float32", (2, 7))


def test_the_inner_folder_may_have_any_name(models: Path) -> None:
    path = models / "TorchScript" / "two_inputs_traced_torch215" / "model" / "model.pt"
    renamed = rewritten(path.read_bytes(), lambda name: "other name/" + name.partition("/")[2])
    assert read(MemoryFiles({"m.pt": renamed})).signature == read(model(path)).signature


def rewritten(data: bytes, rename: Any = lambda name: name, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            inner = name.partition("/")[2].replace("/", "_").replace(".", "_")
            new.writestr(rename(name), members.get(inner, old.read(name)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("net.pt", {}),
        ("net.pth", {"net.pth": "net.pt"}),
        ("1/net.ptl", {"1/net.ptl": "1/net.pt"}),
        ("net", {"net": "net.pt"}),
    ],
)
def test_a_name_that_old_clients_do_not_find_is_changed(models: Path, name: str, wanted: dict[str, str]) -> None:
    data = (models / "TorchScript" / "list_scripted_torch17" / "model" / "model.pt").read_bytes()
    claim = FORMAT.claim(MemoryFiles({name: data}))
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    assert claim.rename == wanted


def test_several_archives_compete(models: Path) -> None:
    data = (models / "TorchScript" / "list_scripted_torch17" / "model" / "model.pt").read_bytes()
    claim = FORMAT.claim(MemoryFiles({"a.pt": data, "b.pt": data}))
    assert claim is not None
    assert claim.competing == ("a.pt", "b.pt")


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name in names:
            new.writestr(name, pickle.dumps({}, 2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("m/data.pkl", "m/version"), "torch.save"),
        (("m/.data/extern_modules", "m/.data/version", "m/net.py"), "torch.package"),
        (("m/archive_format", "m/archive_version", "m/models/model.json"), "exported program"),
        (("serialized_exported_program.json", "version"), "exported program"),
    ],
)
def test_other_archives_of_pytorch_are_named(names: tuple[str, ...], kind: str) -> None:
    with pytest.raises(MalformedModelError, match=kind) as caught:
        read(MemoryFiles({"model.pt": archive(*names)}))
    assert "torch.jit" in caught.value.next_step


def test_a_command_in_the_modules_pickle_is_refused(models: Path) -> None:
    path = models / "TorchScript" / "two_inputs_traced_torch215" / "model" / "model.pt"
    hostile = rewritten(path.read_bytes(), data_pkl=b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.")
    with pytest.raises(UnsafeModelError, match=r"posix\.system"):
        read(MemoryFiles({"model.pt": hostile}))


def test_damaged_code_is_a_typed_error_and_an_unknown_statement_is_none(models: Path) -> None:
    path = models / "TorchScript" / "two_inputs_traced_torch215" / "model" / "model.pt"
    with zipfile.ZipFile(path) as old:
        code = old.read("model/code/__torch__.py")
    for text in (code.replace(b"x: Tensor", b"x: ((("), code.replace(b"ids: Tensor", b"ids: " + b"List[" * 200)):
        with pytest.raises(ModelError):
            read(MemoryFiles({"model.pt": rewritten(path.read_bytes(), code___torch___py=text)}))
    changed = code.replace(b"    o = self.o\n", b"    o = )(\n")
    assert read(MemoryFiles({"model.pt": rewritten(path.read_bytes(), code___torch___py=changed)})).signature.inputs


def test_code_of_pytorch_1_0_is_found_by_model_json() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        new.writestr("m/version", "1")
        new.writestr("m/model.json", json.dumps({"mainModule": {"torchscriptArena": {"key": "code/m.py"}}}))
        new.writestr(
            "m/code/m.py",
            "op_version_set = 0\n"
            "def forward(self,\n    x: Tensor,\n    n: int) -> Tuple[Tensor, Tensor]:\n"
            "  return (x, x)\n",
        )
    signature = read(MemoryFiles({"model.pt": buffer.getvalue()})).signature
    assert [tensor.name for tensor in signature.inputs or ()] == ["input__0", "input__1"]
    assert [tensor.name for tensor in signature.outputs or ()] == ["output__0", "output__1"]


def test_types_are_parsed_and_printed_without_mangling() -> None:
    kind = parse_type("Dict[str, List[Optional[__torch__.___torch_mangle_3.Point]]]")
    assert str(kind) == "Dict[str, List[Optional[__torch__.Point]]]"
    assert kind.arguments[0] == Type("str")


def scripted(body: str, arguments: str = "x: Tensor") -> MemoryFiles:
    """Return an archive of one module with nothing but a ``forward``."""
    buffer = io.BytesIO()
    code = f"class A(Module):\n  def forward(self,\n    {arguments}) -> Tensor:\n{body}"
    with zipfile.ZipFile(buffer, "w") as new:
        new.writestr("m/data.pkl", b"\x80\x02c__torch__\nA\n)\x81}b.")
        new.writestr("m/constants.pkl", b"\x80\x02).")
        new.writestr("m/code/__torch__.py", code)
    return MemoryFiles({"model.pt": buffer.getvalue()})


IMAGE = Signature(inputs=(Tensor(name="input__0", dtype="float32", shape=(2, 3)),))


@pytest.mark.parametrize(
    ("body", "dtype", "shape"),
    [
        ("    if torch.eq(1, 1):\n      y = x\n    else:\n      y = torch.t(x)\n    return y\n", "float32", (2, 3)),
        ("    if torch.eq(1, 2):\n      y = x\n    else:\n      y = torch.t(x)\n    return y\n", "float32", (3, 2)),
        ("    if c:\n      y = x\n    else:\n      y = torch.t(x)\n    return y\n", "float32", (-1, -1)),
        ("    if c:\n      y = x\n    else:\n      y = torch.to(x, 4)\n    return y\n", None, (2, 3)),
        ('    if c:\n      y = x\n    else:\n      ops.prim.RaiseException("")\n    return y\n', "float32", (2, 3)),
        ("    y = x\n    for i in range(n):\n      y = torch.t(y)\n    return y\n", None, None),
        ("    ys = [x]\n    _0 = torch.append(ys, x)\n    return torch.stack(ys)\n", "float32", (2, 2, 3)),
        ("    ys = [x]\n    while c:\n      _0 = torch.append(ys, x)\n    return torch.stack(ys)\n", None, None),
    ],
)
def test_branches_are_followed_and_loops_are_not(body: str, dtype: str | None, shape: tuple[int, ...] | None) -> None:
    outputs = read(scripted(body), IMAGE).signature.outputs
    assert outputs is not None
    assert (outputs[0].dtype, outputs[0].shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("operator", "dtype"),
    [
        ("torch.sigmoid(torch.to(x, 4))", "float32"),
        ("torch.div(torch.to(x, 4), 2)", "float32"),
        ("torch.mul(torch.to(x, 4), 1.5)", "float32"),
        ("torch.mul(torch.to(x, 5), 2)", "float16"),
        ("torch.sum(torch.gt(x, 0), [1])", "int64"),
        ("torch.add(torch.to(x, 5), x)", "float32"),
        ("torch.mul(torch.to(x, 5), torch.sum(x))", "float16"),
        ("torch.softmax(x, 1, 7)", "float64"),
        ("torch.add_(torch.to(x, 4), 1)", "int64"),
        ("torch.mul(x, y)", None),
    ],
)
def test_types_are_promoted_as_pytorch_does(operator: str, dtype: str | None) -> None:
    outputs = read(scripted(f"    return {operator}\n"), IMAGE).signature.outputs
    assert outputs is not None
    assert outputs[0].dtype == dtype


def test_what_a_branch_demands_is_not_demanded_of_the_input() -> None:
    body = "    if c:\n      y = torch.permute(x, [1, 0])\n    else:\n      y = x\n    return y\n"
    inputs = read(scripted(body)).signature.inputs
    assert inputs is not None
    assert inputs[0].shape is None


def test_a_statement_too_long_to_parse_leaves_the_rest_of_the_signature() -> None:
    outputs = read(scripted(f"    y = [{'1, ' * 40_000}1]\n    return x\n"), IMAGE).signature.outputs
    assert outputs is not None
    assert outputs[0].shape == (2, 3)


def test_a_last_dimension_without_a_rank_is_told_in_a_note(models: Path) -> None:
    reading = read(model(models / "TorchScript" / "perceptron_traced_torch112" / "model" / "model.pt"))
    assert any("input__0 has 10 as its last dimension" in note for note in reading.notes)


def test_a_module_that_calls_itself_ends() -> None:
    buffer = io.BytesIO()
    body = "    y = (self.a).forward((self.a).forward(x, ), )\n    return y\n"
    with zipfile.ZipFile(buffer, "w") as new:
        new.writestr("m/data.pkl", b"\x80\x02c__torch__\nA\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb.")
        new.writestr("m/code/__torch__.py", f"class A(Module):\n  def forward(self,\n    x: Tensor) -> Tensor:\n{body}")
    assert len(read(MemoryFiles({"model.pt": buffer.getvalue()})).signature.outputs or ()) == 1
