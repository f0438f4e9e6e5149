"""Writes the text of every command, so that no text can act on the terminal.

Keys, messages and logs come from files, workers and stores. Written as they are they could retitle or clear a terminal,
hide what follows, or show it in another order. So what a terminal would act on or hide is written out: ``\\x1b``,
``\\u202e``. Every command prints through `echo`, `echo_json` or the console of ``webhook.cli.terminal``; a test looks
for others.
"""

from __future__ import annotations

import json
import sys

import click

from webhook.visible_text import escaped


def echo(text: str, *, err: bool = False) -> None:
    """Print a line on standard output, or on standard error."""
    click.echo(escaped(text), err=err)


def echo_json(value: object) -> None:
    """Print a value as one line of JSON, in ASCII: programs read the same characters from it."""
    click.echo(json.dumps(value))


class EscapingStream:
    """Standard error for texts that click writes: a usage error repeats what was typed."""

    def write(self, text: str) -> int:
        """Write a text, escaped."""
        return sys.stderr.write(escaped(text))

    def flush(self) -> None:
        """Write what is buffered."""
        sys.stderr.flush()
