"""Sets of definitions in the ledger: replaced whole or not at all, one owner at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tests import postgres
from tests.polling import until
from webhook.app import prepare
from webhook.ledger import definitions as definitions_module
from webhook.ledger.database import Database
from webhook.ledger.definitions import (
    Check,
    LedgerDefinitions,
    NameTaken,
    Replacement,
    Sets,
    StoredDefinition,
    VersionConflict,
)
from webhook.ledger.queries import QUERIES

POOL, PIPELINE = ("pools", "gpu"), ("pipelines", "photos")


class PoolMissingError(Exception):
    """A pipeline has no pool: the one rule of these tests."""


def checking(after: Sets) -> Check:
    def check(others: Sequence[StoredDefinition], _before: Sets) -> None:
        places = {*after, *((each.kind, each.name) for each in others)}
        if PIPELINE in places and POOL not in places:
            raise PoolMissingError

    return check


@contextlib.asynccontextmanager
async def ledger(postgres_dsn: str) -> AsyncIterator[tuple[LedgerDefinitions, str]]:
    async with postgres.database(postgres_dsn) as (_, dsn):
        await prepare(dsn)
        database = await Database.connect(dsn)
        try:
            yield LedgerDefinitions(database), dsn
        finally:
            await database.aclose()


async def put(definitions: LedgerDefinitions, owner: str, sets: Sets, expected: int | None = None) -> int:
    order = Replacement(owner, sets, "a test", "why", expected)
    return (await definitions.replace(order, checking(sets))).version


async def test_what_stays_the_same_keeps_its_row_and_history_is_whole(postgres_dsn: str) -> None:
    async with ledger(postgres_dsn) as (definitions, _):
        first: Sets = {POOL: {"slots": 1}, PIPELINE: {"pool": "gpu"}}
        second: Sets = {POOL: {"slots": 2}, PIPELINE: {"pool": "gpu"}}
        order: list[Sets] = [first, first, second, {}, first]
        assert [await put(definitions, "a", sets) for sets in order] == [1, 1, 2, 3, 4]
        assert [await definitions.at("a", version) for version in range(1, 6)] == [first, second, {}, first, None]
        assert [(each.version, each.definitions) for each in await definitions.versions("a")] == [
            (4, 2), (3, 0), (2, 2), (1, 2),
        ]  # fmt: skip
        assert [(each.owner, each.version) for each in await definitions.owners()] == [("a", 4)]
        rows = [await definitions.one(number) for number in range(1, 7)]
        assert rows.count(("photos", {"pool": "gpu"})) == 2  # not a third row for the version that left it as it was
        assert rows.count(("gpu", {"slots": 1})) == 2
        assert (rows.count(("gpu", {"slots": 2})), rows[-1]) == (1, None)
        assert await definitions.revision() == (await definitions.now()).revision == 4


async def test_a_refusal_changes_nothing(postgres_dsn: str) -> None:
    async with ledger(postgres_dsn) as (definitions, _):
        await put(definitions, "a", {POOL: {"slots": 1}})
        before = await definitions.now()
        with pytest.raises(NameTaken, match=r"pools.gpu: a defines one of this name"):
            await put(definitions, "b", {POOL: {}, ("pools", "other"): {}})
        with pytest.raises(PoolMissingError):
            await put(definitions, "a", {PIPELINE: {}, ("pools", "other"): {}})
        for expected in (0, 2):
            with pytest.raises(VersionConflict, match="it is at version 1"):
                await put(definitions, "a", {}, expected)
        assert await definitions.now() == before


async def race(definitions: LedgerDefinitions, dsn: str, *, waits_for_lock: bool) -> None:
    """Remove a pool and define a pipeline on it, both at once: each is checked before the other is written."""
    await put(definitions, "pools", {POOL: {}})
    blocker = await asyncpg.connect(dsn)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("lock table definition_changes in share row exclusive mode")
        rivals: list[tuple[str, Sets]] = [("pools", {}), ("pipelines", {PIPELINE: {}})]
        racing = [asyncio.create_task(put(definitions, owner, sets)) for owner, sets in rivals]

        async def both_wait() -> bool:
            waiting = await blocker.fetch(
                "select locktype from pg_locks where not granted and pid <> pg_backend_pid() order by locktype"
            )
            return [row["locktype"] for row in waiting] == (
                ["advisory", "relation"] if waits_for_lock else ["relation", "relation"]
            )

        await until(both_wait)
        await transaction.rollback()
    finally:
        await blocker.close()
    ended = await asyncio.gather(*racing, return_exceptions=True)
    kinds = {each.kind for each in (await definitions.now()).definitions}
    assert kinds != {"pipelines"}, "a pipeline without its pool"
    assert sum(isinstance(each, PoolMissingError) for each in ended) == 1


async def test_of_two_sets_that_contradict_each_other_one_is_refused(postgres_dsn: str) -> None:
    async with ledger(postgres_dsn) as (definitions, dsn):
        await race(definitions, dsn, waits_for_lock=True)


async def test_without_the_lock_both_would_be_accepted(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions_module, "QUERIES", {**QUERIES, "lock_definitions": "select 1"})
    async with ledger(postgres_dsn) as (definitions, dsn):
        with pytest.raises(AssertionError, match="a pipeline without its pool"):
            await race(definitions, dsn, waits_for_lock=False)
