from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.webhook.fleet.fleet_contract import CHECKS, Check
from tests.webhook.ledger.ledger_bench import LEASE_SECONDS, POLICY, LedgerBench, bench, done, event
from webhook.ledger.fleet import LedgerFleet, RegisteredWorker
from webhook.ledger.ledger import ClaimedObject, Settlement
from webhook.ledger.machines import HandlingReport, Intent, MachineState, PoolReport, ProviderReport, Woken
from webhook.ledger.transitions import LOST, Lane, Lost


@dataclass
class LedgerWorld:
    """The world of the fleet's contract, on the real ledger."""

    bench: LedgerBench
    fleet: LedgerFleet
    tokens: dict[int, str] = field(default_factory=dict)
    held: dict[int, list[ClaimedObject]] = field(default_factory=dict)
    uploads: int = 0

    async def advance(self, seconds: float) -> None:
        await self.bench.advance(seconds)

    async def upload(self, pool: str, count: int) -> None:
        pipeline = {"a": self.bench.photos, "b": self.bench.videos}[pool]
        self.uploads += count
        keys = [f"{self.uploads - n}.jpg" for n in range(count)]
        await self.bench.record(*map(event, keys), pipelines=[pipeline])

    async def call_home(self, intent: Intent) -> bool:
        arrival = await self.fleet.hello(intent.token, f"instance-of-{intent.label}")
        if arrival is not None:
            self.tokens[arrival.id] = arrival.token
        return arrival is not None

    async def call(self, id: int) -> bool:
        return await self.fleet.authenticate(self.tokens[id]) is not None

    async def take(self, id: int, count: int) -> int:
        caller = await self.fleet.authenticate(self.tokens[id])
        if caller is None:
            return 0
        pipeline = {"a": self.bench.photos, "b": self.bench.videos}[caller.pool]
        leases = await self.bench.claim(count, worker=id, pipeline=pipeline)
        self.held.setdefault(id, []).extend(leases)
        await self.fleet.active(id, None)
        return len(leases)

    async def settle(self, id: int) -> None:
        settlements = [Settlement(lease.id, lease.token, id, done()) for lease in self.held.pop(id, [])]
        assert all(await self.bench.ledger.settle(settlements))
        await self.fleet.active(id, None)

    async def wake(self, pool: str, machines: int, seconds: float) -> Woken:
        return await self.fleet.wake(pool, machines, seconds)

    async def slay_stranger(self, label: str) -> bool:
        return await self.fleet.slay_stranger(label) is not None

    async def reported(self) -> tuple[dict[str, PoolReport], dict[str, ProviderReport]]:
        pools = {row[0]: PoolReport(*row[1:]) for row in map(tuple, await self.bench.ledger.fetch("pool_reports"))}
        rows = await self.bench.ledger.fetch("provider_reports")
        return pools, {row[0]: ProviderReport(*row[1:]) for row in map(tuple, rows)}


@contextlib.asynccontextmanager
async def world(dsn: str) -> AsyncIterator[LedgerWorld]:
    async with bench(dsn) as b:
        pipelines = {"a": [b.photos], "b": [b.videos]}
        fleet = LedgerFleet(
            b.ledger, owner="yurt", pipelines=lambda pool: pipelines.get(pool, []), slots={"a": 3}, limits={}
        )
        yield LedgerWorld(b, fleet)


async def intended(w: LedgerWorld, pool: str = "a") -> Intent:
    intent = await w.fleet.intend(pool, "local", 20)
    assert isinstance(intent, Intent)
    return intent


async def arrived(w: LedgerWorld, pool: str = "a") -> tuple[Intent, RegisteredWorker]:
    intent = await intended(w, pool)
    arrival = await w.fleet.hello(intent.token, "the-instance-0000")
    assert arrival is not None
    w.tokens[arrival.id] = arrival.token
    return intent, arrival


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_ledgers_fleet_keeps_the_contract(postgres_dsn: str, check: Check) -> None:
    async with world(postgres_dsn) as w:
        await check(w)


async def test_no_number_of_replicas_exceeds_the_limit(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        replicas = [
            LedgerFleet(w.bench.replica(), owner="yurt", pipelines=lambda _: [], slots={}, limits={}) for _ in range(3)
        ]
        answers = await asyncio.gather(*(replicas[n % 3].intend("a", "local", 7) for n in range(30)))
        assert sum(isinstance(answer, Intent) for answer in answers) == 7
        assert len(await w.fleet.machines()) == 7


async def test_who_calls_home_learns_its_pool_and_slots(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, arrival = await arrived(w)
        assert (arrival.id, arrival.pool, arrival.slots, arrival.label) == (intent.id, "a", 3, intent.label)
        caller = await w.fleet.authenticate(arrival.token)
        assert caller is not None
        assert (caller.id, caller.pool, caller.label, caller.draining) == (intent.id, "a", intent.label, False)


async def test_another_process_with_the_same_token_is_refused(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, arrival = await arrived(w)
        assert await w.fleet.hello(intent.token, "another-instance-00") is None
        assert await w.fleet.authenticate(arrival.token) is not None, "the first goes on"


async def test_two_processes_that_call_home_at_once_are_one_worker(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent = await intended(w)
        answers = await asyncio.gather(*(w.fleet.hello(intent.token, f"instance-{n:08}") for n in range(6)))
        assert sum(answer is not None for answer in answers) == 1


async def test_the_same_process_may_ask_again_when_the_answer_was_lost(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, first = await arrived(w)
        again = await w.fleet.hello(intent.token, "the-instance-0000")
        assert again is not None
        assert again.id == first.id
        assert await w.fleet.authenticate(again.token) is not None
        assert await w.fleet.authenticate(first.token) is None, "one worker has one token"


async def test_a_draining_worker_that_asks_again_stays_draining(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, _ = await arrived(w)
        await w.fleet.drain(intent.id, "idle")
        again = await w.fleet.hello(intent.token, "the-instance-0000")
        assert again is not None
        caller = await w.fleet.authenticate(again.token)
        assert caller is not None
        assert caller.draining


@pytest.mark.parametrize("token", ["", "x", "\0", "\udc80", "ü" * 10_000])
async def test_an_unknown_token_is_nobodys(postgres_dsn: str, token: str) -> None:
    async with world(postgres_dsn) as w:
        await arrived(w)
        assert await w.fleet.hello(token, "the-instance-0000") is None
        assert await w.fleet.authenticate(token) is None


async def test_the_one_time_token_does_not_authenticate_and_the_other_does_not_call_home(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, arrival = await arrived(w)
        assert await w.fleet.authenticate(intent.token) is None
        assert await w.fleet.hello(arrival.token, "the-instance-0000") is None


async def test_no_token_is_in_the_database(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, arrival = await arrived(w)
        row = await w.bench.sql("select row_to_json(w)::text || w::text from workers as w")
        assert arrival.label in row
        for token in (intent.token, arrival.token):
            assert len(token) >= 32
            assert token not in row
            assert token.encode().hex() not in row


async def lost_with_worker(w: LedgerWorld, lane: Lane, count: int, handling: int, *, alone: bool) -> None:
    """Slay a worker that has leased, and reported that the first ``handling`` of them are in its handler."""
    intent, _ = await arrived(w)
    leases = await w.bench.claim(count, lane, worker=intent.id)
    assert len(leases) == count
    await w.fleet.report_handling(intent.id, HandlingReport(1, [lease.token for lease in leases[:handling]], alone))
    assert await w.fleet.slaying(intent.id, "silent", MachineState.READY)
    late = [Settlement(lease.id, lease.token, intent.id, done()) for lease in leases]
    assert await w.bench.ledger.settle(late) == [None] * count
    await w.advance(3_600)


async def test_a_worker_that_is_slain_costs_only_what_was_alone_in_its_handler(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 3)
        await lost_with_worker(w, "work", 3, handling=1, alone=False)
        rows = await w.bench.rows()
        assert sorted((row["lane"], row["attempts"]) for row in rows) == [("trial", 0), ("work", 0), ("work", 0)]
        for attempt in range(1, POLICY.attempts + 1):
            await lost_with_worker(w, "trial", 1, handling=1, alone=True)
            [row] = [row for row in await w.bench.rows() if row["lane"] == "trial"]
            assert row["attempts"] == attempt
        assert (row["state"], json.loads(row["error"])["reason"]) == ("parked", LOST.reason)
        assert {row["state"] for row in await w.bench.rows() if row["lane"] == "work"} == {"pending"}


async def test_beside_a_lease_on_trial_nothing_else_is_suspected(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 3)
        await lost_with_worker(w, "work", 3, handling=1, alone=True)
        rows = [row for row in await w.bench.rows() if not row["attempts"]]
        assert [(row["lane"], row["losses"], row["error"]) for row in rows] == [("work", 0, None)] * 2


async def test_a_report_that_comes_late_changes_nothing(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        intent, _ = await arrived(w)
        await w.fleet.active(intent.id, HandlingReport(5, [1, 2], alone=False))
        await w.fleet.active(intent.id, HandlingReport(4, [3], alone=True))
        await w.fleet.report_handling(intent.id, HandlingReport(5, [3], alone=True))
        await w.fleet.active(intent.id, None)
        handling = "select array[handling::text, handling_alone::text] from workers"
        assert await w.bench.sql(handling) == ["{1,2}", "false"]


async def test_a_lease_that_was_under_way_when_its_worker_was_slain_is_taken_back_when_it_is_gone(
    postgres_dsn: str,
) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 1)
        intent, _ = await arrived(w)
        assert await w.take(intent.id, 1) == 1
        # As if the claim had committed just after the worker's leases were taken back.
        await w.bench.sql("update workers set state = 'slaying', token_hash = null where id = $1", intent.id)
        assert await w.fleet.gone(intent.id)
        assert await w.bench.state("1.jpg") == ("pending", "work")


async def test_slaying_is_one_transaction(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 1)
        intent, _ = await arrived(w)
        await w.take(intent.id, 1)
        await w.bench.sql("alter table objects add constraint broken check (state <> 'pending') not valid")
        try:
            with pytest.raises(Exception, match="broken"):
                await w.fleet.slaying(intent.id, "silent", MachineState.READY)
        finally:
            await w.bench.sql("alter table objects drop constraint broken")
        assert await w.call(intent.id)


@pytest.mark.parametrize(("reason", "losses"), [("drain-deadline", 0), ("silent", 1)])
async def test_what_the_control_plane_interrupts_is_not_suspected(postgres_dsn: str, reason: str, losses: int) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 1)
        intent, _ = await arrived(w)
        assert await w.take(intent.id, 1) == 1
        assert await w.fleet.slaying(intent.id, reason, MachineState.READY)
        assert await w.bench.state("1.jpg") == ("pending", "work")
        assert await w.bench.sql("select losses + 100 * attempts from objects where key = '1.jpg'") == losses


async def test_a_pool_without_pipelines_has_nothing_to_do(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        demand = await w.fleet.demand("unheard-of", 10)
        assert (demand.pending, demand.leased) == (0, 0)


async def test_checks_and_later_retries_are_no_demand(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        await w.upload("a", 2)
        [lease] = await w.bench.claim(1)
        await w.bench.settle(lease, Lost("possible"))
        await w.bench.sql("update objects set lane = 'check' where state = 'pending' and losses = 0")
        demand = await w.fleet.demand("a", 10)
        assert (demand.pending, demand.leased) == (0, 0)
        await w.advance(LEASE_SECONDS)
        assert (await w.fleet.demand("a", 10)).pending == 1


async def test_calls_for_the_same_wish_write_a_row_at_most_once_a_second(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as w:
        await w.fleet.wake("a", 1, 600)
        written = await w.bench.sql("select xmin::text from wishes")
        for _ in range(9):
            await w.fleet.wake("a", 1, 600)
            await w.advance(0.1)
        assert await w.bench.sql("select xmin::text from wishes") == written
        await w.advance(0.2)
        assert (await w.fleet.wake("a", 1, 600)).seconds == pytest.approx(600)
