"""Keeps what is defined, and was: each owner replaces its own set whole, in one transaction.

A definition is a row that never changes but for its end: it holds from one revision to another. So earlier sets can be
restored, and leases name the very definition that they were given. Every change takes one lock: each is checked against
what all other owners define at that moment, and revisions come in the order of commits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from webhook.ledger.database import Database
from webhook.ledger.leased_rows import storable
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

CHANNEL = "yurt_definitions"
"""NOTIFY channel. The payload is the revision."""
FILE = "file"
"""Owner of what ``yurt.toml`` defines."""
MAX_PAGE = 1_000
_LAST = 2**31 - 1

Body = Mapping[str, Any]
"""Settings of one definition, as JSON has them."""
Sets = Mapping[tuple[str, str], Body]
"""Definitions by kind and name."""


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One definition that holds now."""

    id: int
    kind: str
    name: str
    owner: str
    body: Body
    version: int
    """Of the owner's set, since which it holds."""
    changed_by: str
    changed_at: datetime


Check = Callable[[Sequence[StoredDefinition], Sets], None]


@dataclass(frozen=True, slots=True)
class DefinitionsNow:
    """Everything that is defined, at one revision."""

    revision: int
    definitions: Sequence[StoredDefinition]


@dataclass(frozen=True, slots=True)
class Replacement:
    """What an owner's set is to be."""

    owner: str
    definitions: Sets
    changed_by: str
    note: str = ""
    expected_version: int | None = None
    """Refuse unless the owner's set is at this version. None: whichever it is; 0: the owner has had none."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a replacement changed, or would change."""

    version: int
    """Of the set now. The earlier one where nothing changed."""
    before: Sets
    """The owner's set before."""


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """One version of an owner's set."""

    owner: str
    version: int
    note: str
    changed_by: str
    changed_at: datetime
    definitions: int
    """Number of definitions in it."""


class NameTaken(Exception):
    """Another owner has a definition of this kind and name."""

    def __init__(self, kind: str, name: str, owner: str) -> None:
        super().__init__(f"{kind}.{name}: {owner} defines one of this name")
        self.kind, self.name, self.owner = kind, name, owner


class VersionConflict(Exception):
    """The owner's set is at another version than was expected."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it is at version {version}")
        self.version = version


class LedgerDefinitions:
    """The definitions in a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> DefinitionsNow:
        """Everything that is defined now, in one snapshot."""
        return _now(await self._fetch("definitions"))

    async def revision(self) -> int:
        """The number of the last change."""
        [row] = await self._fetch("definitions_revision")
        return int(row["revision"])

    async def replace(self, order: Replacement, check: Check) -> Replaced:
        """Put a set in the place of its owner's earlier one, or change nothing at all.

        Args:
            order: The set, whole.
            check: Raises where the set cannot stand. Its arguments: what others define, and the owner's set before.

        Raises:
            NameTaken, VersionConflict, and what ``check`` raises

        """
        return await self._database.transact(lambda connection: self._replace(connection, order, check))

    async def _replace(self, connection: Connection, order: Replacement, check: Check) -> Replaced:
        await connection.execute(QUERIES["lock_definitions"])
        stored = _now(await connection.fetch(QUERIES["definitions"])).definitions
        mine = {(each.kind, each.name): each for each in stored if each.owner == order.owner}
        others = [each for each in stored if each.owner != order.owner]
        version = await _version_of(connection, order.owner)
        if order.expected_version not in (None, version):
            raise VersionConflict(version)
        for each in others:
            if (each.kind, each.name) in order.definitions:
                raise NameTaken(each.kind, each.name, each.owner)
        before = {place: each.body for place, each in mine.items()}
        check(others, before)
        if not order.dry_run and before != order.definitions:
            version = await _write(connection, order, mine)
        return Replaced(version, before)

    async def versions(self, owner: str, before: int | None = None, most: int = 100) -> list[DefinitionVersion]:
        """The versions of an owner's set, newest first, before this one."""
        rows = await self._fetch("definition_versions", owner, _LAST if before is None else before, most)
        return [DefinitionVersion(owner=owner, **row) for row in rows]

    async def owners(self) -> list[DefinitionVersion]:
        """Every owner that ever had a set, with the last version of it."""
        return [DefinitionVersion(**row) for row in await self._fetch("definition_owners", MAX_PAGE)]

    async def at(self, owner: str, version: int) -> Sets | None:
        """One version of an owner's set. None: there is no such version."""
        if not await self._fetch("definition_version", owner, version):
            return None
        rows = await self._fetch("definitions_at", owner, version)
        return {(row["kind"], row["name"]): json.loads(row["body"]) for row in rows}

    async def one(self, id: int) -> tuple[str, Body] | None:
        """Name and settings of one definition, also of one that holds no more. None: there is none of this number."""
        rows = await self._fetch("definition", id)
        return (rows[0]["name"], json.loads(rows[0]["body"])) if rows else None

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(QUERIES[query], *arguments)
        return rows


async def _version_of(connection: Connection, owner: str) -> int:
    """The version of an owner's set; 0: it never had one."""
    rows = await connection.fetch(QUERIES["definition_versions"], owner, _LAST, 1)
    return int(rows[0]["version"]) if rows else 0


async def _write(connection: Connection, order: Replacement, mine: Mapping[tuple[str, str], StoredDefinition]) -> int:
    """Write an owner's next version. What is as before stays the same row. Returns the version."""
    change = await connection.fetchrow(
        QUERIES["change_definitions"], order.owner, storable(order.note), storable(order.changed_by)
    )
    assert change
    ended = [each.id for place, each in mine.items() if order.definitions.get(place) != each.body]
    added = [place for place, body in order.definitions.items() if place not in mine or mine[place].body != body]
    await connection.execute(QUERIES["end_definitions"], change["revision"], ended)
    await connection.execute(QUERIES["add_definitions"], change["revision"], order.owner, *_columns(order, added))
    await connection.execute(QUERIES["notify_definitions"], str(change["revision"]))
    return int(change["version"])


def _columns(order: Replacement, places: Collection[tuple[str, str]]) -> tuple[list[str], ...]:
    bodies = [json.dumps(order.definitions[place]) for place in places]
    return [kind for kind, _ in places], [name for _, name in places], bodies


def _now(rows: Sequence[asyncpg.Record]) -> DefinitionsNow:
    stored = [
        StoredDefinition(
            row["id"], row["kind"], row["name"], row["owner"], json.loads(row["body"]), row["version"],
            row["changed_by"], row["changed_at"],
        )
        for row in rows
        if row["kind"] is not None
    ]  # fmt: skip
    return DefinitionsNow(rows[0]["revision"], stored)
