"""Reads the ledger's SQL statements from ``queries.sql``, by name.

A block begins with ``-- name: …`` or ``-- fragment: …`` and a description, and ends with a semicolon. A fragment is SQL
that several statements share; ``{{its_name}}`` in a statement, or in another fragment, stands for its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

_BLOCK = re.compile(r"^-- (name|fragment): (\w+)\n((?:--[^\n]*\n)+)(.*?);\s*$", re.MULTILINE | re.DOTALL)
_HEAD = re.compile(r"^-- (?:name|fragment): ", re.MULTILINE)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def parse(text: str) -> dict[str, str]:
    """Name to statement, fragments filled in. Raises ValueError where a block or a fragment's place is wrong."""
    blocks = _BLOCK.findall(text)
    fragments = {name: sql for kind, name, _, sql in blocks if kind == "fragment"}
    statements = {name: sql for kind, name, _, sql in blocks if kind == "name"}
    if len(fragments) + len(statements) != len(_HEAD.findall(text)):
        raise ValueError("queries.sql holds a block without a name of its own, a description or a closing semicolon")
    if unused := set(fragments) - set(_PLACE.findall(text)):
        raise ValueError(f"queries.sql holds fragments that no statement uses: {', '.join(sorted(unused))}")
    return {name: _filled(sql, fragments) for name, sql in statements.items()}


def _filled(sql: str, fragments: Mapping[str, str]) -> str:
    def fragment(place: re.Match[str]) -> str:
        try:
            return _filled(fragments[place[1]], fragments)  # which may hold others
        except KeyError:
            raise ValueError(f"queries.sql holds no fragment {place[1]!r}") from None

    return _PLACE.sub(fragment, sql)


QUERIES = MappingProxyType(parse(resources.files("webhook.ledger").joinpath("queries.sql").read_text()))
"""Name to statement."""
