"""One figure of a run, its gate, and the table and JSON that a run leaves behind."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Gate(msgspec.Struct, frozen=True):
    """What a figure must be: at most or at least a limit."""

    limit: float
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_most(limit: float) -> Gate:
    return Gate(limit)


def at_least(limit: float) -> Gate:
    return Gate(limit, at_least=True)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value. `reference` describes what it was divided by or compared with."""

    name: str
    value: float
    unit: str
    gate: Gate | None = None
    reference: str = ""

    @property
    def met(self) -> bool:
        return self.gate is None or self.gate.is_met_by(self.value)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one run, and the machine that it ran on."""

    machine: str
    python: str
    load: str
    quick: bool
    seconds: float
    figures: list[Figure]

    @property
    def missed(self) -> list[str]:
        return [figure.name for figure in self.figures if not figure.met]


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"


def load() -> str:
    """The load averages: how quiet the machine was before the run."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def row(figure: Figure) -> tuple[str, ...]:
    met = "" if figure.gate is None else "yes" if figure.met else "NO"
    gate = "" if figure.gate is None else str(figure.gate)
    return figure.name, _short(figure.value), figure.unit, gate, met, figure.reference


def _short(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as a table in Markdown, with columns lined up for a terminal."""
    head = ("name", "value", "unit", "gate", "met", "reference in this run")
    rows = [head, *map(row, figures)]
    widths = [max(len(cells[at]) for cells in rows) for at in range(len(head))]
    lines = [_line(cells, widths) for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def page(run: Run) -> str:
    """The page that is checked in: the table, below a line about the machine and the run."""
    return (
        "# One run of the benchmark\n\n"
        f"{run.machine}; Python {run.python}; load before the run {run.load}; "
        f"{run.seconds:.0f} s in all. Ratios can be compared between machines, the rest cannot.\n\n"
        f"{table(run.figures)}\n"
    )


def write(run: Run, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
