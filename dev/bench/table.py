"""The table of a run: what was measured beside what it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        measured, against: Both numbers with their units, in words.
        ratio: measured / against, or None where that says nothing.
        target: What is wanted, e.g. `≤ 1.1`; "" for what is only told.
        met: Whether it was reached; None without a target.
    """

    what: str
    measured: str
    against: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """The outcome in a word."""
        return {None: "", True: "met", False: "**missed**"}[self.met]


def at_most(what: str, measured: str, against: str, ratio: float, limit: float) -> Row:
    """Return a row whose ratio must not exceed a limit."""
    return Row(what, measured, against, ratio, f"≤ {limit:g}", ratio <= limit)


def none(what: str, count: int, against: str = "") -> Row:
    """Return a row of something that must not happen."""
    return Row(what, str(count), against, None, "0", count == 0)


def floor_seconds(count: int, burst: float, per_second: float) -> float:
    """Return how long `count` writes take at least through a full token bucket (0 if it holds them all)."""
    return max(0.0, (count - burst) / per_second)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed (nearest rank).

    Raises:
        ValueError: There are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as Markdown, its columns aligned for readers of the text."""
    head = ("What", "Measured", "Against", "Ratio", "Target", "")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    texts.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {text} |" for text in texts)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.4f}"
    return row.what, row.measured, row.against, ratio, row.target, row.verdict
