"""The commands that do the same as a view or a change of the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from webhook.visible_text import escaped


def command(*words: object, **options: object) -> str:
    """A command as it is typed into a shell: ``yurt parked list --reason timeout``. Empty options are left out."""
    given: list[str] = []
    for name, value in options.items():
        if value:
            given += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return escaped(shlex.join(["yurt", *map(str, words), *given]))


def of_choice(group: str, verb: str, fields: Iterable[tuple[str, str]]) -> str:
    """The command that changes what a form of the page has chosen: numbers, a filter, or all."""
    pairs = list(fields)
    ids = [value for name, value in pairs if name == "ids"]
    options = {name: value for name, value in pairs if name not in ("ids", "all")}
    everything = any(name == "all" for name, _ in pairs)
    return command(group, verb, *ids, **options, all=everything)
