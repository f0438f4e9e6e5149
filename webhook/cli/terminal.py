"""Prints untrusted text, tables and progress on a terminal, and asks for confirmation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from webhook.cli.options import fail
from webhook.visible_text import escaped

_FEW = 10
"""Most objects that are changed without a question."""


class EscapingConsole(Console):
    """Console of every command: writes out what a terminal would act on or hide, whatever is printed.

    A table is laid out before that: `plain` escapes the texts that are expected to hold such characters earlier.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, highlight: bool = True) -> None:
        # Neither markup nor emoji codes: "[link=…]" in a text would be one.
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, highlight=highlight, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render into segments, and escape the text of each. Those that steer the cursor are rich's own."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(escaped(segment.text), segment.style)


def plain(text: str, *, lines: bool = False) -> Text:
    """Escape the characters that a terminal would act on or hide: ``\\x1b``, ``\\u202e``. No markup is read."""
    return Text(escaped(text) if lines else escaped(text, ""))


def link(path: Path) -> Text:
    """A file's URL, which a terminal opens: by OSC 8, or by finding the URL in the text."""
    url = path.resolve().as_uri()
    # The console of Linux shows the sequence in place of obeying it.
    return Text(url, style=Style(bold=True, link=None if os.environ.get("TERM") == "linux" else url))


def table(title: str, *columns: str, numbers: Iterable[str] = ()) -> Table:
    """A table without lines between its cells, since a terminal is 80 characters wide.

    The columns named in ``numbers`` are aligned to the right.
    """
    result = Table(
        title=title, title_justify="left", title_style="bold", expand=False, box=None, padding=(0, 1, 0, 0),
        header_style="dim",
    )  # fmt: skip
    right = set(numbers)
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return result


Level = Literal["ok", "warning", "failed"]
_MARKS: Mapping[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}


def finding(level: Level, subject: str, message: str, advice: str = "") -> RenderableType:
    """What was found of one thing, and below it what to do. A line that does not fit keeps its indent."""
    mark, style = _MARKS[level]
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text(mark, style=style), Text.assemble((subject, "bold"), ": ", plain(message)))
    if advice:
        grid.add_row("", Text(advice, style=style))
    return grid


def facts(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names and values, one a line; those without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        if value:
            grid.add_row(Text(name, style="bold"), plain(value))
    return grid


def confirmed(number: int, question: str, *, yes: bool) -> None:
    """Ask before more than a few objects are changed. Ends the program at a no, and where there is no terminal."""
    if yes or number <= _FEW:
        return
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to answer on: give --yes, or --dry-run to count them")
    click.confirm(escaped(question), abort=True)


def progress(title: str, total: int | None) -> tuple[Progress, TaskID]:
    """A progress bar on standard error, shown only on a terminal; and its task."""
    console = EscapingConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    return bar, bar.add_task(title, total=total)
