"""Puts faults of a configuration into words: the field, what is wrong, and what would be right."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

NO_KEYS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: make an access key that may read the inputs and read, "
    "write and delete the outputs, and set both in the environment or in yurt.secrets"
)
"""What to tell a person who runs a command that needs the store without keys."""
_MOST_NAMES = 12
"""Of known settings that are listed where none is like the unknown one."""


class ConfigError(Exception):
    """The configuration cannot be used. The message names each field, what is wrong and what would be right."""


def in_words(
    error: ValidationError, model: type[BaseModel], section: str = "", name: Callable[[str], str] = str
) -> str:
    """Describe each fault of a model on a line of its own. No value is shown: it may be a secret.

    Args:
        error: What the model's validation raised.
        model: The model, to suggest the name that an unknown setting was to have.
        section: Where the model stands in the file, such as ``pipelines.photos.options``.
        name: Turns a field into the name that people know it by.

    """
    faults = error.errors(include_input=False, include_url=False)
    return "\n".join(_line(fault, model, section, name) for fault in faults)


def _line(fault: ErrorDetails, model: type[BaseModel], section: str, name: Callable[[str], str]) -> str:
    loc = [str(part) for part in fault["loc"] if part != "[key]"]
    parts, message = _written(loc, model), fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = _unknown(loc, model)
    elif fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        parts, message = [*parts, _discriminator(fault)], _no_such_kind(loc, model)
    field = name(".".join([section, *parts] if section else parts))
    variable = f"YURT_{'__'.join(parts)}".upper()
    if not section and variable in os.environ:
        field += f" (which {variable} sets)"
    return f"  {field}: {message}" if field else f"  {message}"


def _discriminator(fault: ErrorDetails) -> str:
    return str(fault.get("ctx", {}).get("discriminator", "")).strip("'")


def _no_such_kind(loc: Sequence[str], model: type[BaseModel]) -> str:
    return f"has to be one of {', '.join(sorted(_kinds(_at(loc, model))))}"


def _unknown(parts: Sequence[str], model: type[BaseModel]) -> str:
    known = _settings_at(parts[:-1], model)
    similar = [name for name in known if name.startswith(parts[-1]) or parts[-1].startswith(name)]
    similar += difflib.get_close_matches(parts[-1], known, n=1)
    if similar:
        return f"there is no such setting. Did you mean `{similar[0]}`?"
    if not known:
        return "there is no such setting"
    more = ", …" if len(known) > _MOST_NAMES else ""
    return f"there is no such setting; there are: {', '.join(known[:_MOST_NAMES])}{more}"


def _settings_at(loc: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Names of the settings of a section, where it is one of a model's."""
    annotation = _at(loc, model)
    return sorted(annotation.model_fields) if _is_model(annotation) else []


def _written(loc: Sequence[str], model: type[BaseModel]) -> list[str]:
    """The parts of a fault's place that stand in the file: pydantic also names the kind among several models."""
    return [part for number, part in enumerate(loc) if part not in _kinds(_at(loc[:number], model))]


def _at(loc: Sequence[str], model: type[BaseModel]) -> Any:
    """The model, mapping or choice of models at a place; None where there is no such."""
    annotation: Any = model
    for part in loc:
        annotation = _plain(_inside(annotation, part))
    return annotation


def _inside(annotation: Any, name: str) -> Any:
    """The annotation of a model's field, of a mapping's values, or of one kind; None where there is no such."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if kinds := _kinds(annotation):
        return kinds.get(name)
    field = annotation.model_fields.get(name) if _is_model(annotation) else None
    return field.annotation if field else None


def _kinds(annotation: Any) -> Mapping[str, type[BaseModel]]:
    """The models among which one field chooses, by that field's value. Empty where there is no such choice."""
    if get_origin(annotation) is not Annotated:
        return {}
    choice, *about = get_args(annotation)
    chosen_by = next((each.discriminator for each in about if isinstance(each, FieldInfo)), None)
    return {
        kind: member
        for member in get_args(choice)
        if chosen_by
        for kind in get_args(member.model_fields[str(chosen_by)].annotation)
    }


def _plain(annotation: Any) -> Any:
    """The model, mapping or choice of models of an annotation such as ``Place | None``."""
    if _is_model(annotation) or get_origin(annotation) is dict or _kinds(annotation):
        return annotation
    return next((found for part in get_args(annotation) if (found := _plain(part))), None)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
