"""Shows the progress of the demo: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.demo.watch import DemoSnapshot

_BAR_COLUMNS = 40
_LINE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DemoProgress:
    """Numbers of uploads and objects at one time."""

    uploaded: int
    uploads: int
    """To be made, those included that overwrite an object."""
    objects: int
    """To be uploaded."""
    snapshot: DemoSnapshot

    @property
    def noticed(self) -> int:
        """Objects that the ledger knows of."""
        return self.snapshot.objects()

    @property
    def leased(self) -> int:
        """Objects that a worker has a lease on."""
        return self.snapshot.objects("leased")

    @property
    def done(self) -> int:
        """Objects with a result."""
        return self.snapshot.objects("done")

    @property
    def parked(self) -> int:
        """Parked objects."""
        return self.snapshot.objects("parked")


class View(Protocol):
    """Shows notes and progress."""

    def note(self, text: str) -> None:
        """Show that something happened."""

    def show(self, progress: DemoProgress) -> None:
        """Show the newest numbers."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def view(console: Console, *, plain: bool) -> View:
    """Bars where the console is a terminal, unless plain lines are wanted."""
    return PlainView(console) if plain or not console.is_terminal else LiveView(console)


class PlainView:
    """A line whenever something changed, at most one a second; notes at once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._printed_at = 0.0
        self._printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def note(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def show(self, progress: DemoProgress) -> None:
        """Print a line if a number changed and the last line is a second old."""
        line = (
            f"uploaded {progress.uploaded}/{progress.uploads} → noticed {progress.noticed} → "
            f"leased {progress.leased} → done {progress.done}, parked {progress.parked}; {_workers(progress.snapshot)}"
        )
        if line != self._printed and time.monotonic() - self._printed_at >= _LINE_SECONDS:
            self._printed, self._printed_at = line, time.monotonic()
            self._print(line)

    def _print(self, text: str) -> None:
        elapsed = time.monotonic() - self._started_at
        self._console.print(Text(f"{elapsed:5.1f} s  {text}"), soft_wrap=True)


class LiveView:
    """Bars that move, notes above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._progress: DemoProgress | None = None
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        elapsed = time.monotonic() - self._started_at
        self._console.print(Text.assemble((f"{elapsed:5.1f} s  ", "dim"), text))

    def show(self, progress: DemoProgress) -> None:
        """Draw the numbers at the next refresh."""
        self._progress = progress

    def _render(self) -> RenderableType:
        elapsed = f"{time.monotonic() - self._started_at:5.1f} s"
        if self._progress is None:
            return Text(elapsed, style="dim")
        return Padding(Group(_bars(self._progress), Text(elapsed, style="dim")), (1, 0, 0, 0))


def _bars(progress: DemoProgress) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(width=_BAR_COLUMNS)
    grid.add_column(justify="right")
    rows = (
        ("uploaded", progress.uploaded, progress.uploads, "blue"),
        ("noticed", progress.noticed, progress.objects, "cyan"),
        ("leased", progress.leased, progress.objects, "yellow"),
        ("done", progress.done, progress.objects, "green"),
    )
    for name, number, total, colour in rows:
        grid.add_row(name, _bar(number, total, colour), f"{number} of {total}")
    grid.add_row("parked", _bar(progress.parked, progress.objects, "red"), f"{progress.parked}")
    grid.add_row("workers", Text("▲ " * progress.snapshot.workers("ready") + "△ " * _not_ready(progress.snapshot)), "")
    grid.add_row("", Text(_workers(progress.snapshot), style="dim"), "")
    return grid


def _bar(number: int, total: int, colour: str) -> ProgressBar:
    return ProgressBar(
        total=max(1, total), completed=number, width=_BAR_COLUMNS, complete_style=colour, finished_style=colour
    )


def _not_ready(snapshot: DemoSnapshot) -> int:
    return snapshot.workers() - snapshot.workers("ready")


def _workers(snapshot: DemoSnapshot) -> str:
    return f"workers alive {snapshot.workers()}, minted {snapshot.minted}, slain {snapshot.slain}"


def changes_between(before: DemoSnapshot | None, now: DemoSnapshot) -> Iterator[str]:
    """What happened between two snapshots, a sentence each."""
    counts = (
        ("minted", now.minted - (before.minted if before else 0)),
        ("slain", now.slain - (before.slain if before else 0)),
    )
    for what, number in counts:
        if number > 0:
            yield f"{number} worker{'s' if number > 1 else ''} {what}"
    known = {row.key for row in before.parked} if before else set()
    for row in now.parked:
        if row.key not in known:
            yield f"parked {row.key}: {row.message}"
