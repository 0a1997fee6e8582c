"""Converting as a program does: packages, artifacts, certificates, and what was made before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from klever.steps.artifact import load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, attach, attachments
from klever.steps.conversions import CONVERSION_KEY, CONVERTED_FROM, CONVERTED_TO, Demands
from klever.steps.convert import check_proof, compare_signatures, convert
from klever.steps.converters.interface import Options
from klever.steps.errors import (
    AlreadyExistsError,
    ConversionError,
    EnvironmentMissingError,
    MetadataError,
    NoPathError,
    UnprovenError,
    UnsupportedOperatorsError,
)
from klever.steps.model.certificate import Certificate, Level, OutputError, Party
from klever.steps.model.signature import Signature, Tensor
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import digest_of_package, publish
from klever.steps.recognise import recognise
from klever.steps.stores import Stores

SOURCE, RESULT = parse_reference("vision/mlp:v1"), parse_reference("vision/mlp-onnx:v1")
UNPROVEN = Demands(level=Level.NONE)


@pytest.fixture(autouse=True)
def no_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove nothing by a framework, whatever environments this machine has."""
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(home=tmp_path / "home")


@pytest.fixture
def package(models: Path) -> Path:
    return models / "MXNetParams" / "mlp" / "model"


def test_a_package_is_written_whole(package: Path, stores: Stores, tmp_path: Path) -> None:
    made = convert(package, "onnx", tmp_path / "result", stores)
    assert {path.name for path in (tmp_path / "result").iterdir()} == {"model", "ormbfile.yaml", "certificate.json"}
    model = recognise(tmp_path / "result")
    assert model.format.id == "ONNX"
    assert not model.notes
    certificate = made.certificate
    assert certificate.level is Level.EXECUTED
    assert certificate.source.digest == digest_of_package(recognise(package))
    assert certificate.result.digest == digest_of_package(model)
    assert certificate.result.runtime is not None
    assert certificate.result.runtime.name == "onnxruntime"
    stored = json.loads((tmp_path / "result" / "certificate.json").read_text())
    assert stored == certificate.to_json()
    assert model.author is not None
    assert model.author.certificate == certificate


def test_what_people_wrote_about_the_source_stays(package: Path, stores: Stores, tmp_path: Path) -> None:
    publish(package, SOURCE, stores, changes={"author": "Ada", "labels": {"team": "vision"}})
    made = convert(SOURCE, "ONNX", RESULT, stores, demands=UNPROVEN)
    assert (made.metadata.author, made.metadata.labels) == ("Ada", {"team": "vision"})
    assert (made.metadata.format, made.metadata.framework) == ("ONNX", "ONNX")


def test_a_conversion_done_before_is_found_in_the_directory(package: Path, stores: Stores, tmp_path: Path) -> None:
    first = convert(package, "ONNX", tmp_path / "result", stores, demands=UNPROVEN)
    model = tmp_path / "result" / "model" / "model.onnx"
    written = model.stat().st_mtime_ns
    second = convert(package, "ONNX", tmp_path / "result", stores, demands=UNPROVEN)
    assert (first.found, second.found) == (False, True)
    assert second.certificate == first.certificate
    assert model.stat().st_mtime_ns == written


@pytest.mark.parametrize("change", ["options", "level", "bytes"])
def test_another_conversion_is_not_taken_for_it(change: str, package: Path, stores: Stores, tmp_path: Path) -> None:
    convert(package, "ONNX", tmp_path / "result", stores, demands=UNPROVEN)
    options, demands = Options(), UNPROVEN
    if change == "options":
        options = Options(opset=18)
    elif change == "level":
        demands = Demands(level=Level.EXECUTED)
    else:
        with (tmp_path / "result" / "model" / "model.onnx").open("ab") as stream:
            stream.write(b"\0")
    with pytest.raises(AlreadyExistsError):
        convert(package, "ONNX", tmp_path / "result", stores, options=options, demands=demands)
    made = convert(package, "ONNX", tmp_path / "result", stores, options=options, demands=demands, force=True)
    assert not made.found


def test_a_published_result_names_its_source_and_bears_its_certificate(package: Path, stores: Stores) -> None:
    publish(package, SOURCE, stores)
    made = convert(SOURCE, "ONNX", RESULT, stores)
    artifact = load_artifact(stores.open(RESULT), RESULT)
    source = load_artifact(stores.open(SOURCE), SOURCE)
    assert made.reference == artifact.reference
    assert artifact.manifest.annotations[CONVERTED_FROM] == source.manifest.layer.digest
    assert artifact.metadata.certificate == made.certificate
    assert made.certificate.result.digest == artifact.manifest.layer.digest
    assert len(list(attachments(stores.open(RESULT), artifact.reference, CERTIFICATE))) == 1
    assert len(list(attachments(stores.open(SOURCE), source.reference, CONVERSION))) == 1


def test_a_published_result_is_found_under_its_name_and_under_a_new_one(package: Path, stores: Stores) -> None:
    publish(package, SOURCE, stores)
    first = convert(SOURCE, "ONNX", RESULT, stores, demands=UNPROVEN)
    again = convert(SOURCE, "ONNX", RESULT, stores, demands=UNPROVEN)
    elsewhere = convert(SOURCE, "ONNX", replace(RESULT, repository="other/mlp"), stores, demands=UNPROVEN)
    anew = convert(SOURCE, "ONNX", RESULT, stores, demands=replace(UNPROVEN, again=True))
    assert (first.found, again.found, elsewhere.found, anew.found) == (False, True, True, False)
    assert first.reference is not None
    assert again.reference is not None
    assert elsewhere.reference is not None
    assert first.reference.digest == again.reference.digest == elsewhere.reference.digest


@pytest.mark.parametrize("place", ["no reference", "127.0.0.1:1/vision/mlp:v1", "vision/other:v1"])
def test_a_record_that_leads_nowhere_is_passed_over(place: str, package: Path, stores: Stores) -> None:
    publish(package, SOURCE, stores)
    made = convert(SOURCE, "ONNX", RESULT, stores, demands=UNPROVEN)
    key = load_artifact(stores.open(RESULT), RESULT).manifest.annotations[CONVERSION_KEY]
    elsewhere = parse_reference("vision/elsewhere:v1")
    publish(package, elsewhere, stores, changes={"author": "Eve"})
    bait = load_artifact(stores.open(elsewhere), elsewhere)
    annotations = {CONVERSION_KEY: key, CONVERTED_TO: place}
    attach(stores.open(elsewhere), elsewhere, bait.descriptor, CONVERSION, b"{}", annotations)
    again = convert(elsewhere, "ONNX", parse_reference("vision/again:v1"), stores, demands=UNPROVEN)
    assert (made.found, again.found) == (False, False)


def test_a_path_and_a_reference_to_the_same_bytes_name_one_result(package: Path, stores: Stores) -> None:
    publish(package, SOURCE, stores)
    convert(SOURCE, "ONNX", RESULT, stores, demands=UNPROVEN)
    assert convert(package, "ONNX", RESULT, stores, demands=UNPROVEN).found


def test_a_certificate_about_other_bytes_is_not_published(package: Path, stores: Stores, tmp_path: Path) -> None:
    convert(package, "ONNX", tmp_path / "result", stores, demands=UNPROVEN)
    (tmp_path / "result" / "model" / "notes.txt").write_text("changed by hand")
    published = publish(tmp_path / "result", RESULT, stores)
    assert published.metadata.certificate is None
    assert any("certificate" in note for note in published.notes)


def test_operators_without_a_rule_are_all_named_and_nothing_is_written(
    package: Path, stores: Stores, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    symbol = json.loads(next(package.rglob("*symbol.json")).read_text())
    heads = symbol["heads"]
    for name in ("first", "second"):
        symbol["nodes"].append({"op": "Transmogrify", "name": name, "inputs": heads})
        heads = [[len(symbol["nodes"]) - 1, 0, 0]]
    symbol["nodes"].append({"op": "Defenestrate", "name": "third", "inputs": heads})
    symbol["heads"] = [[len(symbol["nodes"]) - 1, 0, 0]]
    (folder / "net-symbol.json").write_text(json.dumps(symbol))
    (folder / "net-0000.params").write_bytes(next(package.rglob("*.params")).read_bytes())
    with pytest.raises(UnsupportedOperatorsError) as refused:
        convert(folder, "ONNX", tmp_path / "result", stores)
    assert refused.value.operators == {"Transmogrify": ("first", "second"), "Defenestrate": ("third",)}
    assert refused.value.stage == "plan"
    assert not (tmp_path / "result").exists()


def test_no_path_is_told_with_what_there_is(package: Path, stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(NoPathError) as none:
        convert(package, "PMML", tmp_path / "result", stores)
    assert "ONNX" in none.value.next_step
    with pytest.raises(NoPathError, match="already"):
        convert(package, "MXNetParams", tmp_path / "result", stores)
    with pytest.raises(MetadataError):
        convert(package, "Onyx", tmp_path / "result", stores)


def test_half_precision_is_not_promised_for_what_cannot_have_it(models: Path, stores: Stores, tmp_path: Path) -> None:
    network = models / "CaffeModel" / "tiny_v1" / "model"
    with pytest.raises(ConversionError, match="not in NetDef"):
        convert(network, "NetDef", tmp_path / "result", stores, options=Options(dtype="float16"))


def certificate(level: Level, *, agrees: bool = True) -> Certificate:
    party = Party(format="ONNX", digest="sha256:0")
    outputs = (OutputError(name="y", within_tolerance=agrees),)
    return Certificate(level=level, created="", source=party, result=party, path=(), options={}, outputs=outputs)


@pytest.mark.parametrize(
    ("required", "reached", "agrees", "accepted"),
    [
        (Level.NONE, Level.NONE, True, True),
        (Level.EXECUTED, Level.NONE, True, False),
        (Level.EXECUTED, Level.COMPARED, True, True),
        (Level.COMPARED, Level.EXECUTED, True, False),
        (Level.EXECUTED, Level.COMPARED, False, False),
        (Level.NONE, Level.COMPARED, False, False),
    ],
)
def test_a_result_is_accepted_by_its_certificate(required: Level, reached: Level, agrees: bool, accepted: bool) -> None:
    proof = certificate(reached, agrees=agrees)
    assert Demands(level=required).accept(proof) is accepted
    assert Demands(level=required, unsafe_publish_unverified=True).accept(proof)


def test_a_level_that_cannot_be_reached_leaves_nothing(package: Path, stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError) as missing:
        convert(package, "ONNX", tmp_path / "result", stores, demands=Demands(level=Level.COMPARED))
    assert missing.value.next_step == "run klever environments create prove-mxnet"
    assert not (tmp_path / "result").exists()
    made = convert(
        package,
        "ONNX",
        tmp_path / "result",
        stores,
        demands=Demands(level=Level.COMPARED, unsafe_publish_unverified=True),
    )
    assert made.certificate.level is Level.EXECUTED


def test_an_installation_without_the_extra_says_what_to_install(
    package: Path, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klever.steps.convert.find_spec", lambda _: None)
    with pytest.raises(EnvironmentMissingError, match="numpy and onnx") as missing:
        convert(package, "ONNX", tmp_path / "result", stores)
    assert "'.[convert]'" in missing.value.next_step
    assert not (tmp_path / "result").exists()


def test_sizes_that_a_proof_cannot_guess_are_asked_for() -> None:
    image = Tensor(name="data", dtype="float32", shape=(-1, 3, -1, -1))
    with pytest.raises(UnprovenError) as unproven:
        check_proof(certificate(Level.NONE), Demands(), [image])
    assert "--shape" in unproven.value.next_step


def signature(**outputs: tuple[int, ...]) -> Signature:
    return Signature(outputs=tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in outputs.items()))


def test_differences_between_the_signatures_are_told() -> None:
    told = compare_signatures(signature(a=(1, 2), b=(3,)), signature(a=(-1, 2), c=(3,)))
    assert told == (
        "output 'b' of the source is not in the result",
        "output 'c' of the result is not in the source",
        "output 'a' is [1, 2] in the source and [-1, 2] in the result",
    )
    assert not compare_signatures(signature(a=(1,)), signature(a=(1,)))
