"""The rows of the table that ``make bench`` prints: a figure, its limit, and whether it holds."""

from dataclasses import dataclass

from measure import Figure

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, its limit, and whether it holds."""

    what: str
    figure: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its limit."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "holds" if self.holds else "FALLS SHORT"
        return f"{self.what:<84}{self.figure:>9.2f} {self.unit:<3} {sign} {self.limit:>6.2f}  {verdict}"


rows: list[Row] = []


def note(what: str, figure: float, limit: float, unit: str = "x", *, at_least: bool = False) -> None:
    """Keep and print a row."""
    rows.append(Row(what, figure, limit, unit, at_least))
    print(rows[-1], flush=True)


def ratio(what: str, seconds: float, peer: float, limit: float, *, at_least: bool = False) -> None:
    """Note a ratio with the two times that make it."""
    note(f"{what} ({seconds:.2f} s / {peer:.2f} s)", seconds / peer, limit, at_least=at_least)


def memory(what: str, figure: Figure, limit: float) -> None:
    """Note a peak in megabytes."""
    note(f"{what}: peak memory", figure.peak / MEGABYTE, limit, "MB")
