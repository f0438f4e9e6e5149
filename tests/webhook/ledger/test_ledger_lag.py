"""What the ledger believes of a store whose regions lag behind each other, and what else a global store can do."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from tests.webhook.ledger.ledger_bench import LEASE_SECONDS, POLICY, LedgerBench, bench, done, event
from webhook.events import EventKind, EventOrder
from webhook.ledger.coalescing import Verdict
from webhook.ledger.ledger import Ledger
from webhook.ledger.transitions import Failure, NotFound, Present, Restoring, SameContent

T0 = datetime(2026, 5, 15, tzinfo=UTC)

LAG_SECONDS = 30.0


def lagging(b: LedgerBench) -> None:
    """From here on the input's store is not strongly consistent."""
    policy = dataclasses.replace(POLICY, replica_lag_seconds=LAG_SECONDS)
    b.ledger = Ledger(b.database, {b.photos: policy, b.videos: policy}, jitter=lambda: 1.0)


async def test_content_that_confirms_the_event_is_believed_at_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(etag="v1"))
        lease = await b.take()
        assert not lease.believed
        assert await b.settle(lease, done("v1"))
        assert await b.state() == ("done", "work")


@pytest.mark.parametrize("told", [("v2",), (None,), ("v1", "v2")], ids=["other", "nothing", "both"])
async def test_other_content_is_published_and_looked_at_once_more(
    postgres_dsn: str, told: tuple[str | None, ...]
) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        for etag in told:
            await b.record(event(etag=etag))
        assert await b.settle(await b.take(), done("v1"))
        assert await b.state() == ("pending", "work")
        assert (await b.row())["done_etag"] == "v1"
        assert await b.waits() == pytest.approx(LAG_SECONDS, abs=0.01)
        assert await b.counted("done", "recheck") == {"done": 1, "recheck": 1}
        await b.advance(LAG_SECONDS + 1)
        lease = await b.take()
        assert await b.settle(lease, SameContent())
        assert await b.state() == ("done", "work")


async def test_an_old_304_is_asked_again_and_then_believed(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), done("v1"))
        await b.advance(100)
        await b.record(event(etag="v2"))
        assert await b.settle(await b.take(), SameContent())
        assert await b.state() == ("pending", "work")
        await b.advance(LAG_SECONDS + 1)
        lease = await b.take()
        assert lease.believed
        assert await b.settle(lease, SameContent())
        assert await b.state() == ("done", "work")
        assert await b.counted("done", "unchanged", "recheck") == {"done": 1, "unchanged": 1, "recheck": 0}


async def test_a_404_is_not_believed_while_a_region_may_not_have_the_object(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), done("v1"))
        await b.record(event(kind=EventKind.REMOVED))
        for _ in range(POLICY.absent_checks):
            assert await b.settle(await b.take("check"), NotFound())
            assert await b.state() == ("pending", "check")
            await b.advance(await b.waits() + 0.01)
        assert await b.settle(await b.take("check"), NotFound())
        assert await b.state() == ("gone", "work")


async def test_a_404_long_after_the_object_was_seen_needs_no_wait(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), done("v1"))
        await b.advance(100)
        await b.record(event(kind=EventKind.REMOVED))
        for _ in range(POLICY.absent_checks):
            assert await b.settle(await b.take("check"), NotFound())
            await b.advance(10)
        assert await b.state() == ("gone", "work")


async def test_soon_after_a_result_older_content_is_not_believed(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(etag="v1"))
        lease = await b.take()
        await b.advance(LAG_SECONDS + 1)
        await b.record(event(etag="v2"))
        assert await b.settle(lease, done("v1", T0))
        await b.advance(LAG_SECONDS + 1)
        lease = await b.take()
        assert lease.believed
        assert await b.settle(lease, done("v2", T0))
        await b.record(event(etag="v1", kind=EventKind.MOVED))
        await b.settle(await b.take("check"), Present())
        lease = await b.take()
        assert (lease.believed, lease.done_modified) == (False, T0)
        assert await b.settle(lease, SameContent())


async def test_an_interval_is_stale_only_where_it_ends_before_what_is_known(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(order=EventOrder("ceph", b"\x50", b"\x60")))
        assert await b.record(event(order=EventOrder("ceph", b"\x45", b"\x55"))) == {Verdict.COALESCED: 1}
        assert await b.record(event(order=EventOrder("ceph", b"\x30", b"\x4f"))) == {Verdict.STALE: 1}
        assert (await b.row())["ordinal"] == b"\x50"


async def test_a_result_that_the_manifest_knew_is_adopted(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), SameContent(done("v1", T0)))
        row = await b.row()
        assert (row["state"], row["done_etag"], row["done_modified"]) == ("done", "v1", T0)
        assert json.loads(row["published"]) == done("v1").published
        assert await b.counted("done", "unchanged") == {"done": 0, "unchanged": 1}


async def test_what_is_being_restored_waits_in_the_check_lane(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        b.ledger = Ledger(b.database, {b.photos: dataclasses.replace(POLICY, restores=True)}, jitter=lambda: 1.0)
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), Failure("archived", "It is in an archive.", retry=False))
        await b.advance(60)
        assert await b.settle(await b.take("check"), Restoring())
        assert await b.state() == ("pending", "check")
        assert await b.waits() == 300
        await b.advance(301)
        assert await b.settle(await b.take("check"), Present())
        assert await b.state() == ("pending", "work")


async def test_what_is_archived_is_parked_where_nobody_restores(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), Failure("archived", "It is in an archive.", retry=False))
        assert await b.state() == ("parked", "work")


async def test_what_a_lost_lease_may_have_published_over_is_worked_anew(postgres_dsn: str) -> None:
    """Half of the outputs of B, and then the app writes A again: a 304 would leave them standing under A's manifest."""
    async with bench(postgres_dsn) as b:
        await b.record(event(etag="A"))
        assert await b.settle(await b.take(), done("A"))
        await b.record(event(etag="B"))
        lost = await b.take()
        live = await b.ledger.publishing(lost.id, lost.token, None)
        assert live is not None
        assert (live.left_seconds, live.published) == (LEASE_SECONDS, done("A").published)
        await b.advance(LEASE_SECONDS + 1)
        assert await b.ledger.reap() == 1
        assert await b.ledger.publishing(lost.id, lost.token, None) is None
        await b.advance(60)
        lease = await b.take()
        assert (lease.publish_started, lease.done_etag) == (True, None)
        assert await b.settle(lease, done("A"))
        await b.record(event(etag="A"))
        lease = await b.take()
        assert (lease.publish_started, lease.done_etag) == (False, "A")


async def test_the_late_news_of_a_content_after_its_end_is_looked_at_twice(postgres_dsn: str) -> None:
    """Deleted, and told so, before the region where it was written tells of it. Another region still has it."""
    async with bench(postgres_dsn) as b:
        lagging(b)
        await b.record(event(kind=EventKind.REMOVED))
        for _ in range(POLICY.absent_checks):
            assert await b.settle(await b.take("check"), NotFound())
            await b.advance(10)
        assert await b.state() == ("gone", "work")
        await b.record(event(etag="v1"))
        assert await b.settle(await b.take(), done("v1"))
        assert await b.state() == ("pending", "work")
