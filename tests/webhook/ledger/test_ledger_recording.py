"""`Ledger.record`: what becomes of events."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from tests.webhook.ledger.ledger_bench import BROKEN, HOPELESS, bench, done, event
from webhook.events import ContentVersion, EventKind, EventOrder, ObjectEvent, Quarantined
from webhook.ledger.coalescing import Verdict
from webhook.ledger.ledger import CHANNEL, ReceivedEvents
from webhook.ledger.transitions import Outcome

T0 = datetime(2026, 5, 15, tzinfo=UTC)
ACCEPTED, COALESCED, DUPLICATE, STALE = Verdict.ACCEPTED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.STALE


async def test_a_first_event_is_work_due_now(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        assert await b.record(event(etag="v1")) == {ACCEPTED: 1}
        row = await b.row()
        assert (row["state"], row["lane"], row["event_etag"], row["event_size"]) == ("pending", "work", "v1", 3 * 2**30)
        assert await b.waits() == 0
        assert await b.counted() == {"received": 1, "accepted": 1}


@pytest.mark.parametrize("kind", [EventKind.REMOVED, EventKind.MOVED])
async def test_a_removal_is_a_check_that_expects_no_content(postgres_dsn: str, kind: EventKind) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1", kind=kind))
        row = await b.row()
        assert (row["state"], row["lane"], row["event_etag"]) == ("pending", "check", None)


async def test_the_same_delivery_again_changes_nothing(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        said = event()
        await b.record(said)
        before = await b.row()
        await b.advance(5)
        assert await b.record(said) == {DUPLICATE: 1}
        assert await b.row() == before
        lease = await b.take()
        assert await b.record(said) == {DUPLICATE: 1}
        assert await b.settle(lease, done())
        assert await b.record(said) == {DUPLICATE: 1}
        assert await b.state() == ("done", "work")


async def test_another_event_joins_the_change_that_waits(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        assert await b.record(event(etag="v1")) == {COALESCED: 1}
        assert (await b.row())["event_etag"] == "v1"
        assert await b.record(event(etag="v2")) == {COALESCED: 1}
        assert (await b.row())["event_etag"] is None
        assert await b.record(event(etag="v2")) == {COALESCED: 1}
        assert (await b.row())["event_etag"] is None, "v1 may still come after v2"


async def test_an_event_ends_a_wait_for_a_retry_and_starts_the_count_anew(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.settle(await b.take(), BROKEN)
        assert await b.waits() == 10
        assert await b.record(event(etag="v2")) == {COALESCED: 1}
        assert await b.waits() == 0
        row = await b.row()
        assert (row["attempts"], row["faults"], row["error"]) == (0, 0, None)


async def test_a_removal_turns_work_into_a_check_and_back(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.record(event(kind=EventKind.REMOVED))
        assert await b.state() == ("pending", "check")
        await b.record(event(etag="v1"))
        assert await b.state() == ("pending", "work")
        assert (await b.row())["event_etag"] is None, "it may be gone"


async def test_a_parked_change_gives_way_to_a_new_one_but_not_to_its_own_redelivery(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        said = event()
        await b.record(said)
        await b.settle(await b.take(), HOPELESS)
        assert await b.record(said) == {DUPLICATE: 1}
        assert await b.state() == ("parked", "work")
        assert await b.record(event(etag="v2")) == {ACCEPTED: 1}
        row = await b.row()
        assert (row["state"], row["error"], row["attempts"], row["event_etag"]) == ("pending", None, 0, None)
        assert (await b.counted("superseded", "accepted")) == {"superseded": 1, "accepted": 2}


async def test_events_during_a_lease_are_one_more_change(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v2"))
        lease = await b.take()
        said = event(etag="v2")
        assert await b.record(said) == {ACCEPTED: 1}
        assert await b.record(said) == {DUPLICATE: 1}
        assert await b.record(event(etag="v2")) == {COALESCED: 1}
        row = await b.row()
        assert (row["state"], row["rerun_requested"], row["rerun_lane"], row["event_etag"]) == (
            "leased",
            True,
            "work",
            "v2",
        )
        assert (row["token"], row["attempts"]) == (lease.token, 1)
        assert await b.balance() == (0, 0)
        assert await b.record(event(etag="v3")) == {COALESCED: 1}
        assert (await b.row())["event_etag"] is None


async def test_a_first_content_that_comes_back_is_worked_again(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for etag in "ABA":
            assert await b.record(event(etag=etag)) == {ACCEPTED: 1}
            assert await b.settle(await b.take(), done(etag))
        assert (await b.row())["done_etag"] == "A"


async def test_a_redelivery_after_another_event_is_heard(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        first = event(etag="A")
        for said in (first, event(etag="B")):
            await b.record(said)
            await b.settle(await b.take(), done(said.version.etag or ""))
        assert await b.record(first) == {ACCEPTED: 1}, "whether A is back, only the store knows"


async def test_what_is_done_or_gone_is_taken_up_again(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event("done.jpg"), event("gone.jpg", kind=EventKind.REMOVED))
        await b.settle(await b.take(), done())
        await b.sql("update objects set state = 'gone' where key = 'gone.jpg'")
        await b.sql("insert into tally values (0, $1, 'gone', 1)", b.photos)
        assert await b.record(event("done.jpg"), event("gone.jpg")) == {ACCEPTED: 2}
        assert {row["state"] for row in await b.rows()} == {"pending"}


async def test_two_pipelines_each_have_an_object_of_their_own(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        assert await b.record(event(), pipelines=[b.photos, b.videos]) == {ACCEPTED: 2}
        assert await b.settle(await b.take(), done())
        assert (await b.row(pipeline=b.videos))["state"] == "pending"
        assert await b.counted() == {"received": 2, "accepted": 2, "done": 1}


async def test_the_ledger_finds_stale_what_is_older_than_the_newest_it_knows(postgres_dsn: str) -> None:
    """The statement and `Version.is_older_than` say the same of every pair."""
    moments = [None, *(T0 + timedelta(milliseconds=ms) for ms in (0, 300, 1_000, 1_300, 2_000))]
    orders = [None, EventOrder("s", b"\1"), EventOrder("s", b"\1\0"), EventOrder("t", b"\2")]
    versions = [ContentVersion("x", modified, order) for modified, order in itertools.product(moments, orders)]
    pairs = {f"{n:04}": pair for n, pair in enumerate(itertools.product(versions, repeat=2))}

    def events(which: int) -> list[ObjectEvent]:
        return [
            event(key, pair[which].etag, modified=pair[which].modified, order=pair[which].order)
            for key, pair in pairs.items()
        ]

    async with bench(postgres_dsn) as b:
        assert await b.record(*events(0)) == {ACCEPTED: len(pairs)}
        before = {row["key"]: row["mark"] for row in await b.rows()}
        await b.record(*events(1))
        dropped = {row["key"] for row in await b.rows() if row["mark"] == before[row["key"]]}
        assert dropped == {key for key, (known, said) in pairs.items() if said.is_older_than(known)}
        assert await b.counted("stale") == {"stale": len(dropped)}


async def test_what_was_fetched_makes_older_events_stale(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="new"))
        await b.settle(await b.take(), done("new", T0 + timedelta(seconds=10)))
        assert await b.record(event(etag="old", modified=T0)) == {STALE: 1}
        assert await b.record(event(etag="newer", modified=T0 + timedelta(seconds=11))) == {ACCEPTED: 1}
        assert (await b.take()).newest_at == T0 + timedelta(seconds=11)


async def test_order_is_kept_through_every_state(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        new, old = EventOrder("s", b"2"), EventOrder("s", b"1")
        await b.record(event(order=new))
        assert await b.record(event(order=old)) == {STALE: 1}
        assert await b.record(event()) == {COALESCED: 1}, "an event without an order says nothing about it"
        assert await b.record(event(order=old)) == {STALE: 1}
        lease = await b.take()
        assert await b.record(event(order=old)) == {STALE: 1}
        assert not (await b.row())["rerun_requested"]
        await b.settle(lease, HOPELESS)
        assert await b.record(event(order=old)) == {STALE: 1}
        assert await b.state() == ("parked", "work")
        await b.record(event(order=new))
        await b.settle(await b.take(), done())
        assert await b.record(event(order=old)) == {STALE: 1}
        assert await b.state() == ("done", "work")


async def test_two_hints_in_one_request_are_told_apart(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        first = event(etag="v1", order=EventOrder("s", b"1"))
        await b.record(first)
        answers = await b.ledger.record(
            [
                ReceivedEvents([(b.photos, first)]),
                ReceivedEvents([(b.photos, event("other")), (b.photos, event("other"))]),
                ReceivedEvents([(b.photos, event(order=EventOrder("s", b"0")))]),
            ]
        )
        assert [+answer for answer in answers] == [{DUPLICATE: 1}, {ACCEPTED: 1, COALESCED: 1}, {STALE: 1}]


async def test_events_that_concern_nobody_are_counted(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        [answer] = await b.ledger.record([ReceivedEvents((), (0, 0, b.photos), ())])
        assert +answer == {Verdict.IGNORED: 3}
        assert await b.counted() == {"received": 3, "ignored": 3}
        assert not await b.rows()


async def test_what_could_not_be_read_is_kept_and_counted_each_time(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        bad = Quarantined("tigris", "the key is empty", b'{"a": "\\u0000 \xff"}')
        [answer] = await b.ledger.record([ReceivedEvents(quarantined=[bad, bad])])
        assert +answer == {Verdict.QUARANTINED: 2}
        await b.ledger.record(
            [ReceivedEvents([(b.photos, event())], quarantined=[bad]), ReceivedEvents(quarantined=[bad])]
        )
        assert await b.sql("select (source, reason, raw, times) from quarantine") == (
            "tigris",
            "the key is empty",
            bad.raw,
            4,
        )
        assert await b.counted("quarantined", "accepted") == {"quarantined": 4, "accepted": 1}


async def test_quarantine_holds_any_text_up_to_a_limit(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        raw = bytes(range(256)) * 1_000
        bad = [
            Quarantined("tigris", "nul \0 and \ud800" + "x" * 5_000, raw),
            Quarantined("tigris", "the same beginning", raw + b"!"),
        ]
        await b.ledger.record([ReceivedEvents(quarantined=bad)])
        assert await b.sql("select count(*) from quarantine") == 2
        assert await b.sql("select max(length(raw)) from quarantine") == 64 * 1024
        assert await b.sql("select max(length(reason)) from quarantine") == 1_000


async def test_nothing_to_record_is_no_mistake(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        assert await b.ledger.record([]) == []
        assert await b.ledger.record([ReceivedEvents()]) == [Counter()]
        assert await b.counted() == {}


@pytest.mark.parametrize(
    "key", ["k" * 1024, "é" * 512, "🏕" * 256, "a+b %41.jpg", "\U0010ffff", "\uffff", "'; drop table objects; --"]
)
async def test_any_key_comes_back_as_it_was(postgres_dsn: str, key: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(key))
        assert (await b.take()).key == key


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 5, 15, 12, tzinfo=timezone(timedelta(hours=2))),
    ],
)
async def test_any_moment_comes_back_as_it_was(postgres_dsn: str, moment: datetime) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(modified=moment))
        assert (await b.take()).newest_at == moment


async def test_who_listens_is_told_once_a_flush_and_only_of_what_is_due(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        heard: asyncio.Queue[str] = asyncio.Queue()
        listener = await asyncpg.connect(b.dsn)
        await listener.add_listener(CHANNEL, lambda _c, _p, _n, payload: heard.put_nowait(str(payload)))
        said = [event(str(n)) for n in range(5)]
        await b.record(*said, pipelines=[b.photos, b.videos])
        await b.record(*said, pipelines=[b.photos, b.videos])
        await b.ledger.record([ReceivedEvents((), (0,), [Quarantined("tigris", "bad", b"{}")])])
        await b.record(event("last"), pipelines=[b.videos])
        async with asyncio.timeout(30):
            assert [await heard.get(), await heard.get()] == [f"{b.photos},{b.videos}", f"{b.videos}"]
        assert heard.empty()
        await listener.close()


@pytest.mark.parametrize("seed", range(3))
async def test_writers_at_once_wait_for_each_other_and_lose_nothing(postgres_dsn: str, seed: int) -> None:
    rng = random.Random(seed)
    keys = [f"{n:02}" for n in range(25)]
    async with bench(postgres_dsn) as b:
        replicas = [b.replica(), b.replica()]
        outcomes: list[Outcome] = [done(), BROKEN, HOPELESS]

        async def write(number: int) -> None:
            said = [event(key) for key in rng.sample(keys, 20)]
            bad = [Quarantined("tigris", "bad", str(rng.randrange(5)).encode()) for _ in range(3)]
            watching = rng.sample([b.photos, b.videos], rng.randint(1, 2))
            await replicas[number % 2].record(
                [ReceivedEvents([(pipeline, item) for item in said for pipeline in watching], (0,), bad)]
            )

        async def work() -> None:
            for lease in await b.claim(8):
                await b.settle(lease, rng.choice(outcomes))

        await asyncio.gather(*(task for n in range(16) for task in (write(n), work())))
        seen = await b.counted("received", "quarantined", "ignored", "accepted", "coalesced")
        assert (seen["quarantined"], seen["ignored"]) == (48, 16)
        assert seen["accepted"] + seen["coalesced"] == seen["received"] - 64
        assert len({row["key"] for row in await b.rows()}) == 25
