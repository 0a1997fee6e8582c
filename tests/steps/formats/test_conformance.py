"""What every format promises, over every model in ``tests/models``; a new format adds models, not test code."""

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klever.steps.errors import KleverError, ModelError
from klever.steps.extract import extract
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Evidence, Format
from klever.steps.formats.table import MODULES, all_formats, load_format
from klever.steps.recognise import Model, choose, recognise

ROOT = Path(__file__).resolve().parents[2] / "models"
CASES = sorted(path.parent for path in ROOT.glob("*/*/expected.json"))
#: A reading of hostile bytes of these sizes takes no longer, in seconds, nor more memory, in bytes.
MAX_SECONDS = 3.0
MAX_BYTES = 64 << 20


def case_id(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def expectation(case: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return loaded


GOOD = [case for case in CASES if "error" not in expectation(case)]
BAD = [case for case in CASES if "error" in expectation(case)]


def contents(case: Path) -> dict[str, bytes]:
    """Return the files of a test model in memory."""
    folder = case / "model"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read_as_anyone(files: dict[str, bytes], format_id: str | None = None) -> None:
    """Recognise and read; anything but success or a typed error fails the test."""
    memory = MemoryFiles(files)
    try:
        form, claim = choose(memory, format_id)
        extract(Model(memory, form, claim))
    except ModelError as error:
        assert error.cause
        assert "\n" not in error.cause
        assert len(error.cause) < 2000, error.cause


def test_every_format_has_a_model() -> None:
    assert {case.parent.name for case in GOOD} >= set(MODULES) - {"Others"}


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_a_model_is_recognised_by_its_content_alone(case: Path) -> None:
    form, claim = choose(MemoryFiles(contents(case)))
    assert form.id == case.parent.name
    assert claim.evidence == Evidence.CONTENT


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_the_signature_is_what_the_oracle_says(case: Path) -> None:
    path = case if (case / "ormbfile.yaml").exists() else case / "model"
    document = extract(recognise(path)).metadata.to_json()
    signature = document.get("signature", {})
    for name, expected in expectation(case).items():
        actual = document.get(name) if name in {"format", "framework", "signatures"} else signature.get(name)
        if name in {"inputs", "outputs"}:
            actual = [_comparable(tensor) for tensor in actual or ()]
            expected = [_comparable(tensor) for tensor in expected]
        assert actual == expected, name


def _comparable(tensor: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tensor.items() if key != "description"}


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_a_bad_model_is_refused_with_its_error(case: Path) -> None:
    path = case if (case / "ormbfile.yaml").exists() else case / "model"
    with pytest.raises(KleverError) as caught:
        extract(recognise(path, format_id=case.parent.name))
    assert type(caught.value).__name__ == expectation(case)["error"]
    assert caught.value.stage


@pytest.mark.parametrize("form", list(all_formats()), ids=lambda form: form.id)
def test_a_format_claims_no_other_formats_model(form: Format) -> None:
    claimed = [
        case_id(case)
        for case in GOOD
        if case.parent.name != form.id
        and (claim := form.claim(MemoryFiles(contents(case)))) is not None
        and claim.evidence == Evidence.CONTENT
        and form.precedence >= load_format(case.parent.name).precedence
    ]
    assert claimed == []


@pytest.mark.parametrize("form", list(all_formats()), ids=lambda form: form.id)
def test_a_format_says_what_it_needs_and_what_it_is(form: Format) -> None:
    assert MODULES[form.id]
    assert form.framework
    assert form.needs


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_a_truncated_model_is_read_or_refused_with_a_typed_error(case: Path) -> None:
    whole = contents(case)
    for name, data in whole.items():
        for offset in truncations(len(data)):
            read_as_anyone({**whole, name: data[:offset]})
            read_as_anyone({**whole, name: data[:offset]}, case.parent.name)


def truncations(size: int) -> Iterator[int]:
    """Yield offsets over a file: its beginning closely, the rest in even steps, its end."""
    yield from sorted({*range(min(size, 16)), *range(0, size, max(1, size // 24)), max(0, size - 1)})


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_random_bytes_under_a_models_names_give_a_typed_error(case: Path) -> None:
    dice = random.Random(case_id(case))
    names = list(contents(case))
    for size in (0, 1, 7, 64, 4096, 70_000):
        read_as_anyone({name: dice.randbytes(size) for name in names})
        read_as_anyone({name: dice.randbytes(size) for name in names}, case.parent.name)


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_another_formats_bytes_under_a_models_names_give_a_typed_error(case: Path) -> None:
    names = list(contents(case))
    for other in {case.parent.name: case for case in GOOD}.values():
        if other.parent.name == case.parent.name:
            continue
        data = next(iter(contents(other).values()))
        read_as_anyone(dict.fromkeys(names, data), case.parent.name)


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_hostile_changes_cost_bounded_time_and_memory(case: Path) -> None:
    whole = contents(case)
    dice = random.Random(f"hostile {case_id(case)}")
    tracemalloc.start()
    try:
        for _ in range(24):
            name = dice.choice(list(whole))
            hostile = {**whole, name: damaged(whole[name], dice)}
            tracemalloc.reset_peak()
            before, started = tracemalloc.get_traced_memory()[0], time.process_time()
            read_as_anyone(hostile, case.parent.name)
            assert time.process_time() - started < MAX_SECONDS
            assert tracemalloc.get_traced_memory()[1] - before < MAX_BYTES + 4 * sum(map(len, whole.values()))
    finally:
        tracemalloc.stop()


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` with one to eight places changed: bytes replaced, inserted, removed, repeated, made huge."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        # Structure lives at the beginning and the end more than in the weights between them.
        at = min(int(dice.paretovariate(0.4)), len(changed)) if dice.random() < 0.6 else dice.randint(0, len(changed))
        match dice.randrange(5):
            case 0:
                changed[at : at + 1] = dice.randbytes(1)
            case 1:
                changed[at:at] = dice.randbytes(dice.randint(1, 16))
            case 2:
                del changed[at : at + dice.randint(1, 64)]
            case 3:
                changed[at:at] = changed[at : at + dice.randint(1, 64)] * dice.randint(1, 20)
            case _:
                changed[at : at + 8] = dice.choice(
                    (b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x7f" + b"\xff" * 7)
                )
    return bytes(changed)


@pytest.mark.parametrize("form", list(all_formats()), ids=lambda form: form.id)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_the_bytes_a_parser_answers_with_a_typed_error(form: Format, data: st.DataObject) -> None:
    cases = [case for case in GOOD if case.parent.name == form.id] or GOOD[:1]
    whole = contents(data.draw(st.sampled_from(cases), label="case"))
    name = data.draw(st.sampled_from(sorted(whole)), label="file")
    original = whole[name]
    at = data.draw(st.integers(0, len(original)), label="at")
    removed = data.draw(st.integers(0, 200), label="removed")
    inserted = data.draw(st.binary(max_size=200), label="inserted")
    started = time.process_time()
    read_as_anyone({**whole, name: original[:at] + inserted + original[at + removed :]}, form.id)
    read_as_anyone({name: inserted}, form.id)
    assert time.process_time() - started < 2 * MAX_SECONDS
