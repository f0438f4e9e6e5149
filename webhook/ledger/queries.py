"""The statements of ``queries.sql``, by name."""

from __future__ import annotations

import re
from importlib import resources
from types import MappingProxyType

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:--[^\n]*\n)+)(.*?);\s*$", re.MULTILINE | re.DOTALL)


def _load() -> MappingProxyType[str, str]:
    text = resources.files("webhook.ledger").joinpath("queries.sql").read_text()
    blocks = text.split("\n\n-- name: ")
    found = {name: sql for name, _, sql in _BLOCK.findall(text)}
    if len(found) != len(blocks) - 1:
        raise ValueError("queries.sql holds a block without a name, a description or a closing semicolon")
    return MappingProxyType(found)


QUERIES = _load()
"""Name to statement."""
