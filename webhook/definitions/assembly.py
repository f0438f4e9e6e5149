"""Puts the sets of all owners together and checks the whole, by the rules of ``yurt.toml``.

An owner's set holds whole or not at all. A set that was accepted may cease to hold, as where another version of Yurt
runs, or where the file's providers have changed: it is left out and the reason shown, and everything else goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from webhook.config import Config, Definitions, DefinitionSet
from webhook.config_faults import in_words
from webhook.config_file import OptionsModel, handler_faults
from webhook.fleet.reach import ADVICE, out_of_reach
from webhook.ledger.definitions import FILE, Body, Sets, StoredDefinition
from webhook.pipeline_places import overlaps_of_answers

KINDS = tuple(DefinitionSet.model_fields)
"""Kinds of definitions: the tables of ``yurt.toml`` that any owner may have."""
_MOST_FAULTS = 20
_field = re.compile(r"(\w+(?:\.[^\s:]+)*)(?:(: )|(?= \())").match


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a set."""

    field: str
    """Such as ``pipelines.photos.pool``."""
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field and not self.reason.startswith(self.field) else self.reason


class InvalidDefinitions(Exception):
    """A set that cannot hold, with every fault that was found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Assembled:
    """The sets of all owners that hold together."""

    definitions: Definitions
    left_out: Mapping[str, Sequence[Fault]] = field(default_factory=dict)
    """Owners whose sets do not hold, and why."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """Checks sets against each other, and against what each replica has in its own file: providers and its URL."""

    config: Config
    options_model: OptionsModel
    further: Callable[[Definitions], Iterable[str]] = lambda _: ()
    """Finds what else is wrong, a line each."""

    def assembled(self, sets: Mapping[str, Sets]) -> Assembled:
        """Put together the sets of these owners, in their order: what contradicts an earlier one is left out."""
        try:
            return Assembled(self._whole(sets.values()))
        except InvalidDefinitions:
            pass  # which of them is wrong is found out by adding one after the other
        holding: list[Sets] = []
        left_out: dict[str, Sequence[Fault]] = {}
        again = True
        while again:  # a set may need what a later one brings
            again = False
            for owner in [name for name in sets if sets[name] not in holding]:
                try:
                    self._whole([*holding, sets[owner]])
                except InvalidDefinitions as error:
                    left_out[owner] = error.faults
                    continue
                holding.append(sets[owner])
                left_out.pop(owner, None)
                again = True
        return Assembled(self._whole(holding), left_out)

    def check(self, owner: str, others: Sequence[StoredDefinition], before: Sets, after: Sets) -> None:
        """Raise InvalidDefinitions where a set does not hold beside the others, or another one would cease to."""
        rest = by_owner(others)
        file = {FILE: rest.pop(FILE)} if FILE in rest else {}
        if owner == FILE:
            then, now = {FILE: before, **rest}, {FILE: after, **rest}
        else:
            then, now = {**file, **rest, owner: before}, {**file, **rest, owner: after}
        left_out = self.assembled(now).left_out
        if not left_out:
            return
        if owner in left_out:
            raise InvalidDefinitions(left_out[owner])
        earlier = self.assembled(then).left_out
        for other, faults in left_out.items():
            if other not in earlier:
                raise InvalidDefinitions([Fault(each.field, f"{each.reason} ({other} needs it)") for each in faults])

    def _whole(self, sets: Iterable[Sets]) -> Definitions:
        """Raises InvalidDefinitions."""
        tables = tables_of({place: body for one in sets for place, body in one.items()})
        try:
            definitions = Definitions.model_validate({**tables, "providers": self.config.providers})
        except ValidationError as error:
            raise InvalidDefinitions(faults_of(error, Definitions)) from None
        if faults := [_fault(line) for line in self._further(definitions)]:
            raise InvalidDefinitions(faults[:_MOST_FAULTS])
        return definitions

    def _further(self, definitions: Definitions) -> Iterator[str]:
        for faults in handler_faults(definitions, self.options_model):
            yield from faults.splitlines()
        if why := out_of_reach(definitions, self.config.server.public_url):
            yield f"pools: {why}. {ADVICE}"
        yield from overlaps_of_answers(self.config.server.answers, definitions.pipelines)
        yield from self.further(definitions)


def parsed(tables: Mapping[str, Any]) -> Sets:
    """Read the tables that a client sent. Raises InvalidDefinitions."""
    try:
        return sets_of(DefinitionSet.model_validate(tables))
    except ValidationError as error:
        raise InvalidDefinitions(faults_of(error, DefinitionSet)) from None


def sets_of(definitions: DefinitionSet) -> Sets:
    """What an owner writes: each definition without its defaults, so that these may become better."""
    return {
        (kind, name): each.model_dump(mode="json", exclude_unset=True)
        for kind in KINDS
        for name, each in getattr(definitions, kind).items()
    }


def tables_of(sets: Sets) -> dict[str, dict[str, Body]]:
    """The same as tables by kind and name, as a client sends them."""
    tables: dict[str, dict[str, Body]] = {}
    for (kind, name), body in sets.items():
        tables.setdefault(kind, {})[name] = body
    return tables


def by_owner(stored: Iterable[StoredDefinition]) -> dict[str, dict[tuple[str, str], Body]]:
    """The sets of all owners: the file first, then the others by name."""
    sets: dict[str, dict[tuple[str, str], Body]] = {}
    for each in sorted(stored, key=lambda each: (each.owner != FILE, each.owner)):
        sets.setdefault(each.owner, {})[each.kind, each.name] = each.body
    return sets


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The faults that a model's validation found."""
    return [_fault(line) for line in in_words(error, model).splitlines()[:_MOST_FAULTS]]


def _fault(line: str) -> Fault:
    """Read a line such as ``pipelines.photos.pool: there is no pool 'gpu'``, or one that only begins with the field."""
    field, text = _field(line.strip()), line.strip()
    if field is None:
        return Fault("", text)
    return Fault(field[1], text[field.end() :] if field[2] else text)
