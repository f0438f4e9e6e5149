"""What is to be seen while it runs: bars in a terminal, lines where there is none."""

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
class Stand:
    """How far things are."""

    uploaded: int
    uploads: int
    objects: int
    """To be uploaded."""
    seen: DemoSnapshot

    @property
    def noticed(self) -> int:
        """Objects that the ledger knows of."""
        return self.seen.objects()

    @property
    def leased(self) -> int:
        """Objects in the hands of workers."""
        return self.seen.objects("leased")

    @property
    def done(self) -> int:
        """Objects with a result."""
        return self.seen.objects("done")

    @property
    def parked(self) -> int:
        """Objects given up."""
        return self.seen.objects("parked")


class View(Protocol):
    """Somewhere to show it."""

    def note(self, text: str) -> None:
        """Something happened."""

    def show(self, stand: Stand) -> None:
        """Things stand like this now."""

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
        self._said_at = 0.0
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def note(self, text: str) -> None:
        """One line."""
        self._print(text)

    def show(self, stand: Stand) -> None:
        """One line, if there is something new in it."""
        line = (
            f"uploaded {stand.uploaded}/{stand.uploads} → noticed {stand.noticed} → leased {stand.leased} → "
            f"done {stand.done}, parked {stand.parked}; {_workers(stand.seen)}"
        )
        if line != self._said and time.monotonic() - self._said_at >= _LINE_SECONDS:
            self._said, self._said_at = line, time.monotonic()
            self._print(line)

    def _print(self, text: str) -> None:
        elapsed = time.monotonic() - self._started_at
        self._console.print(Text(f"{elapsed:5.1f} s  {text}"), soft_wrap=True)


class LiveView:
    """Bars that move, notes above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._stand: Stand | None = None
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """One line above the bars."""
        elapsed = time.monotonic() - self._started_at
        self._console.print(Text.assemble((f"{elapsed:5.1f} s  ", "dim"), text))

    def show(self, stand: Stand) -> None:
        """Drawn at the next refresh."""
        self._stand = stand

    def _render(self) -> RenderableType:
        elapsed = f"{time.monotonic() - self._started_at:5.1f} s"
        if self._stand is None:
            return Text(elapsed, style="dim")
        return Padding(Group(_bars(self._stand), Text(elapsed, style="dim")), (1, 0, 0, 0))


def _bars(stand: Stand) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(width=_BAR_COLUMNS)
    grid.add_column(justify="right")
    rows = (
        ("uploaded", stand.uploaded, stand.uploads, "blue"),
        ("noticed", stand.noticed, stand.objects, "cyan"),
        ("leased", stand.leased, stand.objects, "yellow"),
        ("done", stand.done, stand.objects, "green"),
    )
    for name, number, total, colour in rows:
        grid.add_row(name, _bar(number, total, colour), f"{number} of {total}")
    grid.add_row("parked", _bar(stand.parked, stand.objects, "red"), f"{stand.parked}")
    grid.add_row("workers", Text("▲ " * stand.seen.workers("ready") + "△ " * _not_ready(stand.seen)), "")
    grid.add_row("", Text(_workers(stand.seen), style="dim"), "")
    return grid


def _bar(number: int, total: int, colour: str) -> ProgressBar:
    return ProgressBar(
        total=max(1, total), completed=number, width=_BAR_COLUMNS, complete_style=colour, finished_style=colour
    )


def _not_ready(seen: DemoSnapshot) -> int:
    return seen.workers() - seen.workers("ready")


def _workers(seen: DemoSnapshot) -> str:
    return f"workers alive {seen.workers()}, minted {seen.minted}, slain {seen.slain}"


def news(before: DemoSnapshot | None, now: DemoSnapshot) -> Iterator[str]:
    """What happened between two looks, a sentence each."""
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
