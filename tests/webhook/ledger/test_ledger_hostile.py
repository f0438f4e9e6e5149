"""What one worker can do to the ledger is bounded: leases held, their life, objects given back, objects given up."""

from __future__ import annotations

import dataclasses

import msgspec

from tests.webhook.ledger.ledger_bench import HOPELESS, LEASE_SECONDS, POLICY, LedgerBench, bench, done, event
from webhook.ledger.ledger import LEASES_PER_SLOT, SECOND_OPINION_SECONDS, Ledger, RenewedLease
from webhook.ledger.policy import SLOWEST_BYTES_PER_SECOND, Policy
from webhook.ledger.transitions import MOST_RETURNS, LeaseReleased

LIMIT_SECONDS = 3 * LEASE_SECONDS
RENTED = dataclasses.replace(POLICY, second_opinion=True)


def ruled_by(b: LedgerBench, policy: Policy) -> None:
    """From now on the bench's pipelines have this policy."""
    b.ledger = Ledger(b.database, {b.photos: policy, b.videos: policy}, jitter=lambda: b.jitter)


async def test_a_worker_holds_few_leases_for_each_slot(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(*(event(str(n)) for n in range(20)))
        hoarder, honest = await b.worker(), await b.worker()
        held = [lease for _ in range(3) for lease in await b.claim(3, worker=hoarder)]
        assert len(held) == LEASES_PER_SLOT
        assert len(await b.claim(2, worker=honest)) == 2
        assert await b.settle(held[0], done(), worker=hoarder)
        assert len(await b.claim(64, worker=hoarder)) == 1
        assert len(await b.claim(64, worker=None)) == 20 - LEASES_PER_SLOT - 3  # the control plane has no slots


async def test_what_a_worker_hoards_is_no_demand_beyond_its_slots(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(*(event(str(n)) for n in range(6)))
        hoarder, honest = await b.worker(), await b.worker()
        await b.claim(64, worker=hoarder)
        await b.claim(1, worker=honest)
        [demand] = await b.ledger.fetch("demand", [b.photos], 100)
        assert (demand["leased"], demand["pending"]) == (2, 1)


async def test_a_lease_ends_however_often_it_is_renewed(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        ruled_by(b, dataclasses.replace(POLICY, lease_limit_seconds=LIMIT_SECONDS))
        await b.record(msgspec.structs.replace(event(), size=None))
        worker = await b.worker()
        lease = await b.take(worker=worker)
        left = []
        for _ in range(4):
            await b.advance(LEASE_SECONDS - 20)
            renewed = await b.ledger.extend(lease.id, lease.token, worker, LEASE_SECONDS, LIMIT_SECONDS)
            left.append(renewed and renewed.left_seconds)
        assert left == [100, 100, 60, None]
        assert await b.ledger.reap() == 1
        row = await b.row()
        assert (row["state"], row["lane"], row["attempts"], row["returns"]) == ("pending", "work", 0, 1)


async def test_a_large_object_has_time_for_a_slow_line(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        ruled_by(b, dataclasses.replace(POLICY, lease_limit_seconds=LIMIT_SECONDS))
        await b.record(msgspec.structs.replace(event(), size=30 * SLOWEST_BYTES_PER_SECOND))
        worker = await b.worker()
        lease = await b.take(worker=worker)
        await b.advance(LIMIT_SECONDS)
        renewed = await b.ledger.extend(lease.id, lease.token, worker, LEASE_SECONDS, LIMIT_SECONDS)
        assert renewed == RenewedLease(superseded=False, left_seconds=30)
        await b.advance(31)
        assert await b.ledger.reap() == 1
        assert (await b.row())["returns"] == 1


async def test_an_object_that_is_given_back_again_and_again_is_parked(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        ends = 0
        while await b.state() != ("parked", "work"):
            await b.advance(max(0, await b.waits()))
            assert await b.settle(await b.take(), LeaseReleased())
            ends += 1
        assert ends == MOST_RETURNS + POLICY.attempts
        assert '"returned"' in (await b.row())["error"]


async def test_a_result_and_a_newer_event_forget_what_was_given_back(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        await b.settle(await b.take(), LeaseReleased())
        assert (await b.row())["returns"] == 1
        await b.record(event())
        assert (await b.row())["returns"] == 0
        await b.settle(await b.take(), LeaseReleased())
        await b.advance(await b.waits())
        await b.settle(await b.take(), done())
        assert (await b.row())["returns"] == 0


async def test_where_machines_are_rented_a_second_one_tries_before_an_object_is_parked(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        ruled_by(b, RENTED)
        await b.record(event())
        liar, honest = await b.worker(), await b.worker()
        assert await b.settle(await b.take(worker=liar), HOPELESS, worker=liar)
        assert await b.state() == ("pending", "work")
        await b.advance(await b.waits())
        assert not await b.claim(worker=liar)
        assert await b.settle(await b.take(worker=honest), done(), worker=honest)
        assert await b.state() == ("done", "work")
        assert (await b.row())["given_up_by"] is None


async def test_two_machines_give_an_object_up(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        ruled_by(b, RENTED)
        await b.record(event())
        one, other = await b.worker(), await b.worker()
        await b.settle(await b.take(worker=one), HOPELESS, worker=one)
        await b.advance(await b.waits())
        await b.settle(await b.take(worker=other), HOPELESS, worker=other)
        assert await b.state() == ("parked", "work")


async def test_the_only_machine_gives_an_object_up_after_a_while(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        ruled_by(b, RENTED)
        await b.record(event())
        only = await b.worker()
        await b.settle(await b.take(worker=only), HOPELESS, worker=only)
        await b.advance(await b.waits() + SECOND_OPINION_SECONDS - 1)
        assert not await b.claim(worker=only)
        await b.advance(1)
        await b.settle(await b.take(worker=only), HOPELESS, worker=only)
        assert await b.state() == ("parked", "work")


async def test_the_ledger_knows_whose_result_it_is(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event())
        worker = await b.worker()
        await b.settle(await b.take(worker=worker), dataclasses.replace(done(), by=worker), worker=worker)
        assert (await b.row())["done_by"] == worker
