"""Figures of a benchmark, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class BenchFigure:
    """One figure and its targets."""

    what: str
    value: float
    unit: str
    ratio: float | None = None
    """Ratio to its ceiling, measured in the same run."""
    at_least: float | None = None
    """Target for the ratio; for the value where there is no ratio."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    at_most: float | None = None
    """Target for the ratio; for the value where there is no ratio."""
    p50_at_most_ms: float | None = None
    p99_at_most_ms: float | None = None
    p95_ms: float | None = None
    p95_at_most_ms: float | None = None
    note: str = ""
    """How it compares, for people."""

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None without targets."""
        measured = self.value if self.ratio is None else self.ratio
        verdicts = [
            self.at_least is None or measured >= self.at_least,
            self.at_most is None or measured <= self.at_most,
            self.p50_at_most_ms is None or (self.p50_ms or 0) <= self.p50_at_most_ms,
            self.p95_at_most_ms is None or (self.p95_ms or 0) <= self.p95_at_most_ms,
            self.p99_at_most_ms is None or (self.p99_ms or 0) <= self.p99_at_most_ms,
        ]
        targets = (self.at_least, self.at_most, self.p50_at_most_ms, self.p95_at_most_ms, self.p99_at_most_ms)
        return all(verdicts) if any(limit is not None for limit in targets) else None

    @property
    def target(self) -> str:
        """The targets as text."""
        parts = [
            f"≥ {self.at_least:g}" if self.at_least is not None else "",
            f"≤ {self.at_most:g}" if self.at_most is not None else "",
            f"p50 ≤ {self.p50_at_most_ms:g}" if self.p50_at_most_ms is not None else "",
            f"p95 ≤ {self.p95_at_most_ms:g}" if self.p95_at_most_ms is not None else "",
            f"p99 ≤ {self.p99_at_most_ms:g}" if self.p99_at_most_ms is not None else "",
        ]
        return ", ".join(part for part in parts if part)


def show(rows: Sequence[BenchFigure]) -> None:
    """Print a table."""
    table = Table(
        title=f"make bench · {os.cpu_count()} cores · Python {platform.python_version()}", title_justify="left"
    )
    for column in ("what", "figure", "÷ ceiling", "p50 ms", "p95 ms", "p99 ms", "to reach", ""):
        table.add_column(column, justify="left" if column in ("what", "") else "right")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.value:,.0f} {row.unit}" if row.value >= 100 else f"{row.value:,.2f} {row.unit}",
            _number(row.ratio, 2),
            _duration(row.p50_ms),
            _duration(row.p95_ms),
            _duration(row.p99_ms),
            row.target,
            " ".join(part for part in ({True: "✓", False: "✗", None: ""}[row.met], row.note) if part),
        )
    Console(width=None if Console().is_terminal else 140).print(table)


def write(rows: Sequence[BenchFigure], path: Path) -> None:
    """Write all figures as JSON."""
    figures = [asdict(row) | {"met": row.met} for row in rows]
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _duration(milliseconds: float | None) -> str:
    long = milliseconds is not None and milliseconds >= 10_000
    return f"{(milliseconds or 0) / 1000:,.0f} s" if long else _number(milliseconds, 1)
