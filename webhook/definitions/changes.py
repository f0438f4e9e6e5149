"""Says what differs between two sets of definitions, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from webhook.ledger.definitions import Body, Sets


class FieldChange(BaseModel):
    """One setting that differs."""

    field: str
    """Such as ``limits.memory_bytes``."""
    before: JsonValue = None
    """Null: it was not set."""
    after: JsonValue = None
    """Null: it is not set any more."""


class DefinitionChange(BaseModel):
    """One definition that is added, changed or removed."""

    kind: str
    """``pipelines``, ``pools``, ``models`` or ``services``."""
    name: str
    change: Literal["added", "changed", "removed"]
    fields: list[FieldChange]


def changes(before: Sets, after: Sets) -> list[DefinitionChange]:
    """What differs, by kind and name."""
    found = []
    for kind, name in sorted({*before, *after}):
        old, new = before.get((kind, name)), after.get((kind, name))
        if old == new:
            continue
        change: Literal["added", "changed", "removed"]
        change = "added" if old is None else "removed" if new is None else "changed"
        fields = _fields(old or {}, new or {})
        found.append(DefinitionChange(kind=kind, name=name, change=change, fields=fields))
    return found


def _fields(old: Body, new: Body) -> list[FieldChange]:
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        FieldChange(field=name, before=before.get(name), after=after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    ]


def _flat(body: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name each setting with the tables that it is in: ``limits.memory_bytes``."""
    for name, value in body.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
