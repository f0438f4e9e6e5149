"""The statements of ``queries.sql``, by name."""

from __future__ import annotations

import re
from importlib import resources
from types import MappingProxyType

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:--[^\n]*\n)+)(.*?);\s*$", re.MULTILINE | re.DOTALL)


def parse(text: str) -> dict[str, str]:
    """Name to statement. Raises ValueError where a block is not whole."""
    found = {name: sql for name, _, sql in _BLOCK.findall(text)}
    if len(found) != len(re.findall(r"^-- name: ", text, re.MULTILINE)):
        raise ValueError("queries.sql holds a block without a name of its own, a description or a closing semicolon")
    return found


QUERIES = MappingProxyType(parse(resources.files("webhook.ledger").joinpath("queries.sql").read_text()))
"""Name to statement."""
