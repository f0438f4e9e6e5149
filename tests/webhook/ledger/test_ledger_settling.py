"""`Ledger.claim`, `settle` and what takes leases back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from tests.postgres import database
from tests.webhook.ledger.ledger_bench import (
    BROKEN,
    HOPELESS,
    LEASE_SECONDS,
    POLICY,
    STORE_DOWN,
    LedgerBench,
    bench,
    done,
    event,
)
from webhook.events import EventKind, EventOrder
from webhook.ledger.coalescing import Verdict
from webhook.ledger.database import Database
from webhook.ledger.ledger import CHANNEL, Ledger, ReceivedEvents, RenewedLease, Settlement, pipeline_id
from webhook.ledger.migrations import migrate
from webhook.ledger.queries import QUERIES
from webhook.ledger.transitions import (
    LOST,
    Failure,
    Lane,
    LeaseReleased,
    NotFound,
    Outcome,
    Present,
    Published,
    SameContent,
)

T0 = datetime(2026, 5, 15, tzinfo=UTC)


# claiming


async def test_a_lease_says_all_that_is_known(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1", modified=T0))
        lease = await b.take()
        assert (lease.key, lease.pipeline_id, lease.attempt) == ("a.jpg", b.photos, 1)
        assert (lease.event_etag, lease.newest_at, lease.done_etag) == ("v1", T0, None)
        await b.settle(lease, done("v1"))
        await b.record(event(etag="v2"))
        assert (await b.take()).done_etag == "v1"


async def test_what_waits_longest_is_leased_first_each_object_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for n in (3, 1, 2):
            await b.record(event(str(n)))
            await b.advance(1)
        assert {lease.key for lease in await b.claim(2)} == {"3", "1"}
        assert {lease.key for lease in await b.claim(2)} == {"2"}
        assert not await b.claim(2)


async def test_each_lane_and_pipeline_is_claimed_by_itself(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event("work"))
        await b.record(event("check", kind=EventKind.REMOVED))
        await b.record(event("other"), pipelines=[b.videos])
        assert [lease.key for lease in await b.claim(lane="check")] == ["check"]
        assert [lease.key for lease in await b.claim(pipeline=b.videos)] == ["other"]
        assert [lease.key for lease in await b.claim()] == ["work"]


async def test_who_claims_at_once_gets_different_objects(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(*(event(str(n)) for n in range(60)))
        claims = await asyncio.gather(*(b.claim(7) for _ in range(12)))
        leases = [lease for claim in claims for lease in claim]
        assert len({lease.id for lease in leases}) == len({lease.token for lease in leases}) == len(leases) == 60


async def test_a_claim_does_not_wait_for_one_that_is_not_committed(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(*(event(str(n)) for n in range(5)))
        slow = await asyncpg.connect(b.dsn)
        async with slow.transaction():
            taken = await slow.fetch(QUERIES["claim"], b.photos, "work", 2, None, 60.0, 0.0, 4, 900.0, None)
            async with asyncio.timeout(30):
                leases = await b.claim()
        assert {row["id"] for row in taken}.isdisjoint(lease.id for lease in leases)
        assert len(taken) + len(leases) == 5
        await slow.close()


@pytest.mark.parametrize("state", ["intended", "booting", "draining", "slaying", "gone", None])
async def test_only_a_ready_worker_gets_leases(postgres_dsn: str, state: str | None) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        worker = 4711 if state is None else await b.worker(state)
        before = await b.row()
        assert not await b.claim(worker=worker)
        assert await b.row() == before
        assert await b.claim(worker=await b.worker("ready"))


async def test_tokens_only_grow_also_across_a_rebuilt_ledger(postgres_dsn: str) -> None:
    tokens: list[int] = []
    async with database(postgres_dsn) as (_, dsn):
        for _ in range(3):
            connection = await asyncpg.connect(dsn)
            await connection.execute("drop schema public cascade; create schema public")
            await migrate(connection)
            await connection.close()
            rebuilt = await Database.connect(dsn, connections=1)
            number = await pipeline_id(rebuilt, "photos", "photos-in")
            ledger = Ledger(rebuilt, {})
            await ledger.record([ReceivedEvents([(number, event(str(n))) for n in range(3)])])
            for _ in range(3):
                tokens += [lease.token for lease in await ledger.claim(number, "work", 1, None, LEASE_SECONDS)]
            await rebuilt.aclose()
    assert len(tokens) == 9
    assert tokens == sorted(set(tokens))


# settling


async def lose_to_reaper(b: LedgerBench) -> None:
    await b.advance(LEASE_SECONDS + 1)
    assert await b.ledger.reap() == 1
    await b.advance(60)


async def test_a_settled_lease_is_settled(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        assert await b.settle(await b.take(), done("v1", T0))
        row = await b.row()
        assert (row["state"], row["done_etag"], row["done_modified"], row["newest_at"]) == ("done", "v1", T0, T0)
        assert (row["worker_id"], row["deadline"], row["error"], row["attempts"]) == (None, None, None, 0)
        assert json.loads(row["published"]) == {"256.webp": "out-v1", "result.json": "man-v1"}
        assert row["done_at"] == await b.sql("select yurt_now()")
        assert not await b.claim()


@pytest.mark.parametrize("outcome", [done("v9"), SameContent(), NotFound(), LeaseReleased(), BROKEN, HOPELESS])
@pytest.mark.parametrize("how", ["old-token", "other-worker", "nobody", "settled", "expired", "leased-anew"])
async def test_who_lost_the_lease_changes_nothing(postgres_dsn: str, how: str, outcome: Outcome) -> None:
    async with bench(postgres_dsn) as b:
        mine, other = await b.worker(), await b.worker()
        await b.record(event())
        lease = await b.take(worker=mine)
        token, worker = lease.token, mine
        match how:
            case "old-token":
                token -= 1
            case "other-worker":
                worker = other
            case "nobody":
                worker = 0
            case "settled":
                assert await b.settle(lease, done(), worker=mine)
            case "expired":
                await lose_to_reaper(b)
            case "leased-anew":
                await lose_to_reaper(b)
                assert (await b.take(worker=mine)).token > token
        before, counted = await b.row(), await b.counted()
        assert await b.ledger.settle([Settlement(lease.id, token, worker or None, outcome)]) == [None]
        assert await b.row() == before
        assert await b.counted() == counted
        assert await b.ledger.extend(lease.id, token, worker or None, 1.0, 9.0) is None
        assert await b.ledger.lease(lease.id, token, worker or None) is None
        assert await b.row() == before


async def test_a_batch_settles_what_it_may_in_its_order(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(*(event(str(n)) for n in range(3)))
        one, two, three = sorted(await b.claim(), key=lambda lease: lease.key)
        answers = await b.ledger.settle(
            [
                Settlement(three.id, three.token, None, HOPELESS),
                Settlement(one.id, one.token - 1, None, done()),
                Settlement(two.id, two.token, None, done("first")),
                Settlement(2**62, 1, None, done()),
                Settlement(two.id, two.token, None, HOPELESS),
            ]
        )
        assert [place and place[1] for place in answers] == [three.key, None, two.key, None, None]
        assert [row["state"] for row in await b.rows()] == ["leased", "done", "parked"]
        assert await b.ledger.settle([]) == []


async def test_settling_the_same_lease_at_once_succeeds_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        lease = await b.take()
        answers = await asyncio.gather(*(b.settle(lease, done()) for _ in range(8)))
        assert sorted(answers) == [False] * 7 + [True]
        assert await b.counted("done") == {"done": 1}


@pytest.mark.parametrize(
    "outcome",
    [
        Published("nul\0", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), {"a": "nul\0", "b": "\ud800"}),
        Published("\udfff", datetime.min.replace(tzinfo=timezone(timedelta(hours=5))), {}),
        Published("naive", T0.replace(tzinfo=None), {}),
        Failure("crashed", "nul \0 half \ud800", retry=True, log="\0\udfff" * 100),
    ],
)
async def test_nothing_that_a_worker_says_spoils_the_batch(postgres_dsn: str, outcome: Outcome) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event("bad"), event("good"))
        leases = await b.claim()
        said = [Settlement(x.id, x.token, None, done() if x.key == "good" else outcome) for x in leases]
        assert None not in await b.ledger.settle(said)
        assert await b.state("good") == ("done", "work")
        assert not await b.claim()


async def test_a_heartbeat_extends_and_tells_of_a_newer_event(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        lease = await b.take()
        await b.advance(LEASE_SECONDS - 1)
        renewed = await b.ledger.extend(lease.id, lease.token, None, LEASE_SECONDS, 900.0)
        assert renewed == RenewedLease(superseded=False, left_seconds=LEASE_SECONDS)
        await b.advance(LEASE_SECONDS - 1)
        assert await b.ledger.reap() == 0
        await b.record(event())
        renewed = await b.ledger.extend(lease.id, lease.token, None, LEASE_SECONDS, 900.0)
        assert renewed == RenewedLease(superseded=True, left_seconds=LEASE_SECONDS)
        live = await b.ledger.lease(lease.id, lease.token, None)
        assert live is not None
        assert (live.key, live.pipeline_id, live.published) == ("a.jpg", b.photos, {})
        assert await b.settle(lease, done())


# an event during the lease


async def test_the_content_fetched_was_already_the_newer_one(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v2"))
        lease = await b.take()
        await b.record(event(etag="v2"))
        assert await b.settle(lease, done("v2"))
        assert await b.state() == ("done", "work")
        assert await b.counted("done", "superseded") == {"done": 1, "superseded": 1}


async def test_the_content_fetched_was_the_older_one(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        lease = await b.take()
        await b.record(event(etag="v2"))
        assert await b.settle(lease, done("v1"))
        assert await b.waits() == 0
        again = await b.take()
        assert (again.event_etag, again.done_etag, again.attempt) == (None, "v1", 1)
        assert await b.settle(again, done("v2"))
        assert await b.counted("done", "superseded") == {"done": 2, "superseded": 0}


async def test_events_that_disagree_cover_nothing_and_promise_nothing(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        lease = await b.take()
        await b.record(event(etag="v3"))
        await b.record(event(etag="v2"))
        assert await b.settle(lease, done("v2"))
        assert (await b.take()).event_etag is None


@pytest.mark.parametrize("one_flush", [False, True])
@pytest.mark.parametrize("removal_first", [False, True])
async def test_a_removal_meanwhile_is_looked_into(postgres_dsn: str, removal_first: bool, one_flush: bool) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        lease = await b.take()
        said = [event(etag="v1"), event(etag="v1", kind=EventKind.REMOVED)]
        if removal_first:
            said.reverse()
        if one_flush:
            await b.record(*said)
        else:
            for item in said:
                await b.record(item)
        assert await b.settle(lease, done("v1"))
        assert await b.state() == ("pending", "work" if removal_first and not one_flush else "check")


async def test_a_failure_gives_way_to_the_newer_change(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        lease = await b.take()
        await b.record(event(etag="v2"))
        assert await b.settle(lease, HOPELESS)
        assert await b.waits() == 0
        row = await b.row()
        assert (row["state"], row["error"], row["attempts"], row["rerun_requested"]) == ("pending", None, 0, False)
        assert row["done_at"] is None, "there is no result"


async def test_a_lost_lease_gives_way_to_the_newer_change(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        await b.take()
        await b.record(event(etag="v2"))
        await b.advance(LEASE_SECONDS + 1)
        assert await b.ledger.reap() == 1
        assert (await b.take()).attempt == 1


# trying again


async def test_retries_wait_twice_as_long_each_time_and_end_parked(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        for attempt, wait in ((1, 10), (2, 20)):
            lease = await b.take()
            assert lease.attempt == attempt
            assert await b.settle(lease, BROKEN)
            assert await b.waits() == wait
            await b.advance(wait - 0.001)
            assert not await b.claim()
            await b.advance(0.001)
        assert await b.settle(await b.take(), BROKEN)
        assert await b.state() == ("parked", "work")
        row = await b.row()
        assert json.loads(row["error"]) == {"reason": "unreadable", "message": "It cannot be read.", "log": ""}
        assert row["attempts"] == POLICY.attempts
        await b.advance(10**9)
        assert not await b.claim()
        [shown] = await b.ledger.fetch("parked", 20)
        assert (shown["key"], shown["pipeline"], shown["attempts"]) == ("a.jpg", "photos", 3)


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 5), (0.5, 7.5), (0.999_999, 10)])
async def test_jitter_takes_off_up_to_half(postgres_dsn: str, jitter: float, wait: float) -> None:
    async with bench(postgres_dsn) as b:
        b.jitter = jitter
        await b.record(event())
        await b.settle(await b.take(), BROKEN)
        assert await b.waits() == pytest.approx(wait, abs=0.001)


async def test_a_failure_that_cannot_be_helped_parks_at_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.settle(await b.take(), HOPELESS)
        assert await b.state() == ("parked", "work")


async def test_a_store_that_is_down_parks_nothing_for_long_and_uses_up_no_attempt(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        for _ in range(POLICY.store_attempts - 1):
            await b.settle(await b.take(), STORE_DOWN)
            assert await b.state() == ("pending", "work")
            await b.advance(POLICY.backoff_limit_seconds)
        await b.settle(await b.take(), BROKEN)
        assert await b.state() == ("pending", "work"), "the first failure of its own"
        await b.advance(POLICY.backoff_limit_seconds)
        await b.settle(await b.take(), STORE_DOWN)
        assert await b.state() == ("parked", "work")


async def test_a_lease_that_always_runs_out_is_tried_alone_and_parked_at_last(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        lanes: list[str] = []
        while (state := await b.state())[0] == "pending":
            lanes.append(state[1])
            assert len(lanes) < 40
            await b.take("trial" if state[1] == "trial" else "work")
            assert await b.ledger.reap() == 0
            await lose_to_reaper(b)
            await b.advance(POLICY.backoff_limit_seconds)
        assert lanes[:3] == ["work", "work", "trial"]
        row = await b.row()
        assert (row["state"], json.loads(row["error"])["reason"]) == ("parked", LOST.reason)


async def test_reaping_takes_the_longest_overdue_first_and_passes_over_what_is_being_settled(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for n in range(4):
            await b.record(event(str(n)))
            await b.take()
            await b.advance(1)
        await b.advance(LEASE_SECONDS)
        settling = await asyncpg.connect(b.dsn)
        async with settling.transaction():
            await settling.execute("select from objects where key = '0' for update")
            async with asyncio.timeout(30):
                assert await b.ledger.reap(2) == 2
        assert [row["state"] for row in await b.rows()] == ["leased", "pending", "pending", "leased"]
        assert await b.ledger.reap() == 2
        await settling.close()


async def test_leases_of_a_pipeline_that_is_configured_no_more_are_taken_back(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.take()
        await b.advance(LEASE_SECONDS + 1)
        assert await Ledger(b.database, {}).reap() == 1
        assert await b.state() == ("pending", "work")


async def test_what_is_given_back_goes_to_another_with_no_attempt_counted(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        for _ in range(2 * POLICY.attempts):
            lease = await b.take()
            assert lease.attempt == 1
            await b.settle(lease, LeaseReleased())
            await b.advance(await b.waits())
        assert await b.state() == ("pending", "work")


async def test_what_becomes_due_at_once_is_told_and_what_waits_is_not(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        heard: asyncio.Queue[str] = asyncio.Queue()
        await b.record(event("waits"), event("again"))
        leases = {lease.key: lease for lease in await b.claim()}
        await b.record(event("again", etag="v2"))
        listener = await asyncpg.connect(b.dsn)
        await listener.add_listener(CHANNEL, lambda _c, _p, _n, payload: heard.put_nowait(str(payload)))
        await b.settle(leases["waits"], BROKEN)
        await b.settle(leases["again"], done("v1"))
        async with asyncio.timeout(30):
            assert await heard.get() == str(b.photos)
        assert heard.empty()
        await listener.close()


# absent


async def test_a_removal_is_believed_after_so_many_404s(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1", modified=T0))
        await b.settle(await b.take(), done("v1", T0))
        await b.record(event(kind=EventKind.REMOVED))
        assert await b.settle(await b.take("check"), NotFound())
        assert await b.state() == ("pending", "check")
        assert await b.waits() == 10
        await b.advance(10)
        assert await b.settle(await b.take("check"), NotFound())
        row = await b.row()
        assert (row["state"], row["done_etag"], row["published"], row["newest_at"]) == ("gone", None, None, None)
        assert await b.counted("gone") == {"gone": 1}
        await b.record(event(etag="v1", modified=T0))
        assert (await b.take()).done_etag is None, "its outputs may be gone as well: no 304 is wanted"


async def test_a_verdict_is_that_of_the_last_result(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:

        async def after(outcome: Outcome, lane: Lane = "work") -> str | None:
            await b.record(event(kind=EventKind.REMOVED if lane == "check" else EventKind.CREATED))
            await b.settle(await b.take(lane), outcome)
            verdict: str | None = (await b.row())["done_verdict"]
            return verdict

        assert await after(replace(done("v1"), verdict="review")) == "review"
        assert await after(SameContent()) == "review"
        assert await after(HOPELESS) == "review", "the earlier result is still there"
        assert await after(SameContent(replace(done("v1"), verdict="refused"))) == "refused"
        assert await after(done("v2")) is None
        assert await after(replace(done("v3"), verdict="ok")) == "ok"
        await after(NotFound(), "check")
        await b.advance(10)
        await b.settle(await b.take("check"), NotFound())
        assert ((await b.row())["state"], (await b.row())["done_verdict"]) == ("gone", None)


async def test_a_workers_404_is_checked_from_the_first_on(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        for _ in range(POLICY.attempts - 1):
            await b.settle(await b.take(), BROKEN)
            await b.advance(60)
        assert await b.settle(await b.take(), NotFound())
        for _ in range(POLICY.absent_checks):
            assert await b.state() == ("pending", "check")
            await b.advance(60)
            await b.settle(await b.take("check"), NotFound())
        assert await b.state() == ("gone", "work")


async def test_checks_that_the_store_does_not_answer_are_no_404s(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(kind=EventKind.REMOVED))
        for outcome, attempt in ((STORE_DOWN, 1), (STORE_DOWN, 1), (NotFound(), 1), (STORE_DOWN, 2), (NotFound(), 2)):
            assert await b.state() == ("pending", "check")
            lease = await b.take("check")
            assert lease.attempt == attempt, "by this the checker knows when the outputs may go"
            await b.settle(lease, outcome)
            await b.advance(60)
        assert await b.state() == ("gone", "work")


async def test_what_is_there_after_all_is_worked(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(kind=EventKind.REMOVED))
        await b.settle(await b.take("check"), Present())
        lease = await b.take()
        assert lease.attempt == 1
        assert await b.settle(lease, done())


async def test_what_was_heard_while_the_old_content_went_is_not_forgotten_with_it(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(kind=EventKind.REMOVED))
        await b.settle(await b.take("check"), NotFound())
        await b.advance(10)
        lease = await b.take("check")
        new = EventOrder("s", b"2")
        assert await b.record(event(etag="new", modified=T0, order=new)) == {Verdict.ACCEPTED: 1}
        assert await b.settle(lease, NotFound())
        assert await b.record(event(etag="old", order=EventOrder("s", b"1"))) == {Verdict.STALE: 1}
        lease = await b.take()
        assert (lease.event_etag, lease.newest_at, lease.done_etag) == (None, T0, None)
        assert await b.counted("gone", "superseded") == {"gone": 1, "superseded": 0}
