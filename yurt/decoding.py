"""Decodes JSON into frozen dataclasses by their type hints; fields that are unknown are left out.

A newer control plane may say more than this version knows. What is known has to be there, and of its type.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Decoded = TypeVar("Decoded")


class DecodingError(ValueError):
    """What was read is not what was expected. The message names the place, and nothing of the content."""


def decode_json(kind: type[Decoded], text: bytes | str) -> Decoded:
    """Decode a JSON object into a dataclass. Raises `DecodingError`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodingError("it is no JSON") from None
    return decode(kind, content)


def decode(kind: type[Decoded], content: object) -> Decoded:
    """Decode the content of a JSON document into a dataclass. Raises `DecodingError`."""
    decoded: Decoded = _decoded(kind, content, "the whole")
    return decoded


@cache
def _fields(kind: type[Any]) -> Mapping[str, tuple[Any, bool]]:
    """Type of each field, and whether it may be missing."""
    hints = get_type_hints(kind)
    return {field.name: (hints[field.name], _has_default(field)) for field in dataclasses.fields(kind)}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _decoded(hint: Any, content: object, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _object(hint, content, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(arguments, content, where)
    if origin is tuple:
        return tuple(_decoded(arguments[0], item, where) for item in _checked(list, content, where))
    if origin is Literal:
        if content not in arguments:
            raise DecodingError(f"{where} has a value that this version does not know")
        return content
    if hint is datetime:
        return _time(content, where)
    return _checked(origin or hint, content, where)


def _object(kind: Any, content: object, where: str) -> Any:
    given = _checked(dict, content, where)
    found = {}
    for name, (hint, optional) in _fields(kind).items():
        if name in given:
            found[name] = _decoded(hint, given[name], name)
        elif not optional:
            raise DecodingError(f"{name} is missing")
    return kind(**found)


def _optional(arguments: tuple[Any, ...], content: object, where: str) -> Any:
    """A type or None: no other union is used."""
    if content is None and type(None) in arguments:
        return None
    return _decoded(next(hint for hint in arguments if hint is not type(None)), content, where)


def _checked(kind: Any, content: object, where: str) -> Any:
    if kind in (Any, object):
        return content
    if kind is Mapping or (isinstance(kind, type) and issubclass(kind, Mapping)):
        kind = dict
    if kind is float and isinstance(content, int) and not isinstance(content, bool):
        return float(content)
    if not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool):
        raise DecodingError(f"{where} is of another type than expected")
    return content


def _time(content: object, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(_checked(str, content, where))
    except ValueError:
        raise DecodingError(f"{where} is no time") from None
    if at.tzinfo is None:
        raise DecodingError(f"{where} has no time zone")
    return at
