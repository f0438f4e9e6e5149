"""Parked rows, and what a person decides about them, while events come in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal

import asyncpg
import pytest

from tests.polling import until
from tests.webhook.ledger.ledger_bench import HOPELESS, STORE_DOWN, LedgerBench, bench, event
from webhook.ledger.cursor import PATTERN, Cursor, parse
from webhook.ledger.ledger import ReceivedEvents
from webhook.ledger.parked import BulkResult, ParkedObjects, ParkedQuery
from webhook.ledger.queries import QUERIES
from webhook.ledger.transitions import Failure, NotFound

Verb = Literal["redrive", "forget"]
EVERYTHING = ParkedQuery()


async def park(b: LedgerBench, *keys: str, outcome: Failure = HOPELESS) -> None:
    """Let these objects be given up, one after the other."""
    for key in keys:
        await b.record(event(key))
        await b.settle(await b.take(), outcome)
        assert (await b.state(key))[0] == "parked"


def mover(b: LedgerBench, verb: Verb) -> Callable[..., Awaitable[BulkResult]]:
    parked = ParkedObjects(b.ledger)
    return parked.redrive if verb == "redrive" else parked.forget


async def test_a_redriven_object_begins_anew_and_keeps_its_error(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg")
        await b.advance(60)
        assert await ParkedObjects(b.ledger).redrive(EVERYTHING) == BulkResult(1, None)
        row = await b.row()
        assert (row["state"], row["lane"], row["attempts"], row["faults"]) == ("pending", "work", 0, 0)
        assert await b.waits() == 0
        assert "It is no photo." in row["error"]
        assert (await b.take()).attempt == 1


async def test_a_redriven_object_goes_back_to_the_lane_it_was_parked_in(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.settle(await b.take(), NotFound())  # the worker's 404: the control plane asks for itself
        while (await b.state())[0] == "pending":
            await b.advance(100)
            await b.settle(await b.take("check"), STORE_DOWN)
        assert await b.state() == ("parked", "check")
        await ParkedObjects(b.ledger).redrive(EVERYTHING)
        assert await b.state() == ("pending", "check")
        assert (await b.row())["faults"] == 0


async def test_a_forgotten_change_is_counted_and_its_results_stay(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg", "b.jpg")
        await b.sql("update objects set published = '{\"256.webp\": \"e\"}', done_etag = 'v0' where key = 'a.jpg'")
        await b.advance(60)
        assert (await ParkedObjects(b.ledger).forget(ParkedQuery(key="a.jpg"))).objects == 1
        row = await b.row()
        assert (row["state"], row["done_etag"], row["published"]) == ("forgotten", "v0", '{"256.webp": "e"}')
        assert await b.waits() == 0, "due_at is the moment at which it was forgotten"
        assert await b.counted("forgotten") == {"forgotten": 1}
        assert await b.balance() == (0, 0)
        assert await b.record(event()) == {"accepted": 1}
        assert await b.state() == ("pending", "work")


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        (ParkedQuery(), "abcd"),
        (ParkedQuery(pipeline="videos"), ""),
        (ParkedQuery(pipeline="photos"), "abcd"),
        (ParkedQuery(reason="store"), "c"),
        (ParkedQuery(reason="unreadable"), "abd"),
        (ParkedQuery(prefix="a"), "a"),
        (ParkedQuery(prefix="%"), ""),
        (ParkedQuery(key="a"), ""),
        (ParkedQuery(key="b.jpg"), "b"),
        (ParkedQuery(older_seconds=3600), "ab"),
        (ParkedQuery(newer_seconds=3600), "bcd"),
        (ParkedQuery(older_seconds=3600, newer_seconds=3600), "b"),
        (ParkedQuery(older_seconds=3600, reason="store"), ""),
    ],
)
async def test_what_a_filter_means(postgres_dsn: str, which: ParkedQuery, meant: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg")
        await b.advance(3600)
        await park(b, "b.jpg")
        await b.advance(3600)
        await park(b, "c.jpg", outcome=Failure("store", "503", retry=False))
        await park(b, "d.jpg")
        await b.record(event("waits.jpg"))
        parked = ParkedObjects(b.ledger)
        page = await parked.page(which, None, 100)
        assert sorted(row["key"][0] for row in page) == list(meant)
        assert sum(row["objects"] for row in await parked.counts(which)) == len(meant)
        numbers = [row["id"] for row in page]
        assert (await parked.redrive(which)).objects == len(meant)
        assert {row["id"] for row in await b.rows() if row["state"] == "pending"} >= set(numbers)
        assert sum(row["state"] == "parked" for row in await b.rows()) == 4 - len(meant)


async def test_by_number_only_those_that_are_parked_are_meant(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg", "b.jpg")
        await b.record(event("c.jpg"))
        numbers = {row["key"]: row["id"] for row in await b.rows()}
        which = ParkedQuery(ids=[numbers["a.jpg"], numbers["c.jpg"], 2**62])
        assert (await ParkedObjects(b.ledger).forget(which)).objects == 1
        assert [row["state"] for row in await b.rows()] == ["forgotten", "parked", "pending"]


async def test_pages_go_towards_the_past_and_miss_nothing(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for hour in range(3):
            await park(b, *(f"{hour}-{number}.jpg" for number in range(3)))  # three of one moment
            await b.advance(3600)
        parked = ParkedObjects(b.ledger)
        seen: list[str] = []
        after: Cursor | None = None
        while page := await parked.page(EVERYTHING, after, 2):
            seen += [row["key"] for row in page]
            after = parse(str(Cursor(page[-1]["parked_at"], page[-1]["id"])))
        assert seen == [f"{hour}-{number}.jpg" for hour in (2, 1, 0) for number in (2, 1, 0)]


async def test_batches_do_not_meet_what_is_parked_again_at_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, *(f"{number}.jpg" for number in range(7)))
        parked = ParkedObjects(b.ledger)
        after: Cursor | None = None
        moved = []
        for _ in range(10):
            batch = await parked.redrive(EVERYTHING, after, 2)
            moved.append(batch.objects)
            for lease in await b.claim():
                await b.settle(lease, HOPELESS)
            after = batch.after
            if after is None:
                break
        assert moved == [2, 2, 2, 1]


async def test_every_replica_is_told_of_what_is_due_again(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg", "b.jpg")
        heard: asyncio.Queue[str] = asyncio.Queue()
        connection = await asyncpg.connect(b.dsn)
        try:
            await connection.add_listener("yurt_due", lambda *said: heard.put_nowait(said[-1]))
            await ParkedObjects(b.ledger).redrive(EVERYTHING)
            assert await asyncio.wait_for(heard.get(), 20) == str(b.photos)
            await ParkedObjects(b.ledger).redrive(EVERYTHING)  # without a change there is no notification
            await connection.execute("select pg_notify('yurt_due', 'end')")
            assert await asyncio.wait_for(heard.get(), 20) == "end"
        finally:
            await connection.close()


@pytest.mark.parametrize("verb", ["redrive", "forget"])
async def test_an_event_that_comes_first_wins(postgres_dsn: str, verb: Verb) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, "a.jpg")
        connection = await asyncpg.connect(b.dsn)
        try:
            transaction = connection.transaction()
            await transaction.start()
            await b.ledger.record_in(connection, [ReceivedEvents([(b.photos, event())])])  # type: ignore[arg-type]
            moving = asyncio.ensure_future(mover(b, verb)(EVERYTHING))
            await until(lambda: waiting(b))
            await transaction.commit()
            assert await moving == BulkResult(0, None)
        finally:
            await connection.close()
        assert await b.state() == ("pending", "work")
        assert await b.counted("superseded", "forgotten") == {"superseded": 1, "forgotten": 0}


async def waiting(b: LedgerBench) -> bool:
    """Whether a transaction waits for a row."""
    number: int = await b.sql(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    return number > 0


@pytest.mark.parametrize("verb", ["redrive", "forget"])
async def test_two_people_at_once_count_each_object_once(postgres_dsn: str, verb: Verb) -> None:
    async with bench(postgres_dsn) as b:
        await park(b, *(f"{number}.jpg" for number in range(20)))
        moved = await asyncio.gather(*(mover(b, verb)(EVERYTHING) for _ in range(4)))
        assert sum(batch.objects for batch in moved) == 20
        assert await b.counted("forgotten") == {"forgotten": 20 if verb == "forget" else 0}


async def test_pages_are_read_from_the_index(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.sql(
            "insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark)"
            " select $1, n::text, 'parked', 'work', yurt_now() - make_interval(secs => n), yurt_now(), 'accepted', ''"
            " from generate_series(1, 3000) as n",
            b.photos,
        )
        await b.sql("analyze objects")
        plan = await explained(b, "parked_page", *[None] * 7, None, None, 10)
        assert "objects_parked" in plan
        assert "Sort" not in plan
        await b.sql("delete from objects")


async def explained(b: LedgerBench, name: str, *arguments: object) -> str:
    async with b.database.connection() as connection:
        return "\n".join(row[0] for row in await connection.fetch(f"explain {QUERIES[name]}", *arguments))


def test_a_cursor_is_the_same_after_it_was_written() -> None:
    cursor = Cursor(datetime(2026, 5, 15, 10, 30, 0, 123456, tzinfo=UTC), 42)
    assert parse(str(cursor)) == cursor
    assert re.fullmatch(PATTERN, str(cursor))
    # What the pattern lets through, PostgreSQL can hold.
    assert parse("9" * 16 + "-" + "9" * 18).id < 2**63
