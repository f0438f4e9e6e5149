"""Reads an app's tables, and prints what they change: what is added in green, removed in red, changed in yellow."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from rich.text import Text

from webhook.cli.options import fail
from webhook.cli.output import echo
from webhook.cli.terminal import EscapingConsole, plain
from webhook.secrets_file import reason_of_file

_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_MOST_CHARACTERS = 200


def show_changes(answer: dict[str, Any]) -> None:
    """Print the changes of an answer of ``POST /v1/deployments``, a line for each setting."""
    if not answer["changes"]:
        echo("Nothing differs.")
        return
    console = EscapingConsole(soft_wrap=True, highlight=False)
    for change in answer["changes"]:
        mark, style = _MARKS[change["change"]]
        console.print(Text.assemble((f"{mark} ", style), plain(f"{change['kind']}.{change['name']}")), style=style)
        for field in change["fields"]:
            console.print(_field(field, change["change"]))


def _field(field: dict[str, Any], change: str) -> Text:
    before, after = _written(field["before"]), _written(field["after"])
    value = {"added": after, "removed": before}.get(change, f"{before} → {after}")
    return plain(f"    {field['field']} = {value}")


def _written(value: object) -> str:
    """A setting's value as JSON, not longer than a few lines of a terminal."""
    if value is None:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def tables_in(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, as they are written. Ends the program where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {reason_of_file(error)}")
    except tomllib.TOMLDecodeError as error:
        fail(f"{path} is not TOML: {error}")
