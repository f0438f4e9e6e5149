"""What a worker reported is processed again once the worker is distrusted, in whichever state the object is."""

from __future__ import annotations

import dataclasses

from tests.webhook.ledger.ledger_bench import HOPELESS, LEASE_SECONDS, LedgerBench, bench, done, event
from webhook.ledger.distrust import Distrust, Distrusted
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import ClaimedObject, Settlement
from webhook.ledger.transitions import SameContent


async def work(b: LedgerBench, worker: int, etag: str = "v1") -> None:
    """The worker reports results of all that is due."""
    for lease in await b.claim(worker=worker):
        assert await b.settle(lease, dataclasses.replace(done(etag), by=worker), worker=worker)


async def anew(b: LedgerBench, key: str, worker: int | None = None) -> ClaimedObject:
    """A lease of the object: it makes all outputs again, also of equal content."""
    [lease] = [lease for lease in await b.claim(worker=worker) if lease.key == key]
    assert lease.done_etag is None
    assert lease.publish_started
    return lease


async def test_all_that_it_reported_is_processed_again_and_nothing_else(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        liar, honest = await b.worker(), await b.worker()
        await b.record(event("good"))
        await work(b, honest)
        await b.record(event("bad"), event("parked"), event("held"))
        leases = {lease.key: lease for lease in await b.claim(worker=liar)}
        await b.settle(leases["bad"], dataclasses.replace(done(), by=liar), worker=liar)
        await b.settle(leases["parked"], HOPELESS, worker=liar)
        assert await Distrust(b.ledger).distrust(liar, "It lies.") == Distrusted(True, 2, None)
        assert {row["key"]: row["state"] for row in await b.rows()} == {
            "good": "done", "bad": "pending", "parked": "pending", "held": "pending",
        }  # fmt: skip
        assert not await b.settle(leases["held"], done(), worker=liar)
        assert not await b.claim(worker=liar)
        await anew(b, "bad", honest)
        assert (await b.counted("recheck"))["recheck"] == 1


async def test_an_object_that_another_worker_has_now_is_processed_once_more(postgres_dsn: str) -> None:
    """Its lease began with the lie: it may find the content unchanged."""
    async with bench(postgres_dsn) as b:
        liar, honest = await b.worker(), await b.worker()
        await b.record(event(etag="v1"))
        await work(b, liar)
        await b.record(event(etag="v2"))
        lease = await b.take(worker=honest)
        assert lease.done_etag == "v1"
        assert await Distrust(b.ledger).distrust(liar, "It lies.") == Distrusted(True, 1, None)
        assert await b.settle(lease, SameContent(), worker=honest)
        again = await anew(b, "a.jpg", honest)
        assert await b.settle(again, dataclasses.replace(done(), by=honest), worker=honest)
        assert await b.state() == ("done", "work")
        assert await Distrust(b.ledger).distrust(liar, "It lies.") == Distrusted(True, 0, None)


async def test_content_of_tomorrow_does_not_make_all_other_look_old(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        liar = await b.worker()
        await b.record(event())
        lease = await b.take(worker=liar)
        tomorrow = await b.sql("select yurt_now() + interval '20 hours'")
        await b.settle(lease, dataclasses.replace(done(modified=tomorrow), by=liar), worker=liar)
        await Distrust(b.ledger).distrust(liar, "It lies.")
        row = await b.row()
        assert row["newest_at"] == row["done_modified"] == await b.sql("select yurt_now()")


async def test_many_objects_are_changed_page_by_page(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        liar = await b.worker()
        await b.record(*(event(str(n)) for n in range(4)))
        await work(b, liar)
        distrust = Distrust(b.ledger)
        first = await distrust.distrust(liar, "It lies.", most=3)
        assert (first.objects, first.after is not None) == (3, True)
        assert await distrust.distrust(liar, "It lies.", first.after or 0, 3) == Distrusted(True, 1, None)
        assert {row["state"] for row in await b.rows()} == {"pending"}


async def test_a_settlement_that_was_under_way_does_not_stand(postgres_dsn: str) -> None:
    """It was claimed while the worker was revoked, and settled within the second for which its token is cached."""
    async with bench(postgres_dsn) as b:
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [b.photos], slots={}, limits={})
        liar = await b.worker()
        await b.record(event())
        await Distrust(b.ledger).distrust(liar, "It lies.")
        lease = await b.take()
        await b.sql("update objects set worker_id = $1", liar)
        said = Settlement(lease.id, lease.token, liar, dataclasses.replace(done(), by=liar))
        assert await b.ledger.settle([said]) != [None]
        assert await b.state() == ("done", "work")
        assert await fleet.gone(liar)
        assert await b.state() == ("pending", "work")


async def test_a_worker_that_is_gone_can_be_found_out_too(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        liar = await b.worker()
        await b.record(event())
        await work(b, liar)
        await b.sql("update workers set state = 'gone' where id = $1", liar)
        assert await Distrust(b.ledger).distrust(liar, "It lies.") == Distrusted(True, 1, None)
        await b.sql("delete from workers where id = $1", liar)
        await work(b, await b.worker())
        assert await Distrust(b.ledger).distrust(liar, "It lies.") == Distrusted(False, 0, None)


async def test_a_lost_lease_stays_lost(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        liar = await b.worker()
        await b.record(event())
        lease = await b.take(worker=liar)
        await b.advance(LEASE_SECONDS + 1)
        await Distrust(b.ledger).distrust(liar, "It lies.")
        assert not await b.settle(lease, done(), worker=liar)
