"""The larger corpus of models with oracles, where the checkout has one beside it."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"


def corpus(form: str) -> list[Path]:
    """Return the packages of a format that have an oracle; ``bad_*`` are to be refused."""
    return sorted(path.parents[1] for path in SHARED.glob(f"corpus/{form}/*/oracle/meta.json"))
