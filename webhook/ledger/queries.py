"""Loads the SQL statements of ``queries.sql``, by name."""

from __future__ import annotations

import re
from importlib import resources
from types import MappingProxyType

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:--[^\n]*\n)+)(.*?);\s*$", re.MULTILINE | re.DOTALL)


def parse(text: str) -> dict[str, str]:
    """Parse named statements. Raises ValueError where a block lacks its name, description or semicolon."""
    statements = {name: sql for name, _, sql in _BLOCK.findall(text)}
    if len(statements) != len(re.findall(r"^-- name: ", text, re.MULTILINE)):
        raise ValueError("queries.sql holds a block without a name of its own, a description or a closing semicolon")
    return statements


QUERIES = MappingProxyType(parse(resources.files("webhook.ledger").joinpath("queries.sql").read_text()))
"""Name to statement."""
