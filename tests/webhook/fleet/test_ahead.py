"""A pool's loop gets machines before there is work, says why, and lets them go when nothing wants them any more."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from structlog.testing import capture_logs

from tests.webhook.fleet.cloud_fleet import URL, Cloud
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.fleet.ahead import NOTHING_AHEAD, AheadOfWork, Foresight
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers import Offer
from webhook.ledger.arrivals import ArrivalHistory
from webhook.ledger.machines import Cause, MachineState
from webhook.pool_settings import Pool

HOUR = 3_600.0
MORNING = {"cron": "0 8 * * *", "hours": 2, "minimum": 2}


class PoolAhead:
    """An autoscaler of one pool at one provider; the clock stands at Monday, 0:00."""

    def __init__(self, **settings: Any) -> None:
        self.cloud, self.fleet = Cloud(), MemoryFleet(now=0.0)
        pool = Pool.model_validate({"provider": "p", "slots": 1, "boot_seconds": 300, **settings})
        self.foresight = Foresight("a", pool, self.fleet, call_seconds=5)
        self.autoscaler = Autoscaler(
            self.fleet, {"a": pool}, {"p": self.cloud}, url=URL, tick_seconds=0.01, clock=lambda: self.fleet.now
        )

    async def at(self, hours: float) -> None:
        self.fleet.now = hours * HOUR

    async def turns(self, count: int = 1, seconds: float = 10) -> None:
        """Machines call home at once, and call all the time."""
        for _ in range(count):
            await self.autoscaler.tick()
            for row in self.fleet.rows.values():
                self.fleet.hello(row.label, row.token)
                await self.fleet.call(row.id)
            await self.fleet.advance(seconds)

    @property
    def ready(self) -> list[Cause]:
        return [row.cause for row in self.fleet.alive(MachineState.READY)]


async def test_what_is_wanted_is_told_by_reason() -> None:
    it = PoolAhead(schedules=[MORNING], learn=True)
    it.fleet.histories["a"] = ArrivalHistory(2, {8: 2}, boot_seconds=60)
    assert await it.foresight.now() == NOTHING_AHEAD
    await it.fleet.wake("a", 3, 12 * HOUR)
    assert await it.foresight.now() == AheadOfWork(wake=3)
    await it.at(8)
    assert await it.foresight.now() == AheadOfWork(schedule=2, wake=3, learned=1)
    await it.at(11)
    assert await it.foresight.now() == AheadOfWork(wake=3)


async def test_only_a_pool_that_is_to_learn_looks_back() -> None:
    it = PoolAhead()
    it.fleet.histories["a"] = ArrivalHistory(2, {0: 2})
    assert await it.foresight.now() == NOTHING_AHEAD


async def test_what_arrived_is_read_again_after_a_while() -> None:
    it = PoolAhead(learn=True)
    assert await it.foresight.now() == NOTHING_AHEAD
    it.fleet.histories["a"] = ArrivalHistory(2, {0: 2})
    assert await it.foresight.now() == NOTHING_AHEAD
    await it.fleet.advance(301)
    assert await it.foresight.now() == AheadOfWork(learned=1)


async def test_where_no_machine_has_booted_its_deadline_is_reckoned_with() -> None:
    it = PoolAhead(learn=True, boot_seconds=1_800)
    it.fleet.histories["a"] = ArrivalHistory(2, {1: 2})
    await it.at(0.4)
    assert await it.foresight.now() == NOTHING_AHEAD
    await it.at(0.51)
    assert await it.foresight.now() == AheadOfWork(learned=1)


async def test_a_wake_has_its_machines_and_they_leave_when_it_has_ended() -> None:
    it = PoolAhead(idle_seconds=300)
    await it.fleet.wake("a", 2, 1_800)
    await it.turns(5)
    assert it.ready == [Cause.WAKE, Cause.WAKE]
    await it.turns(170)
    assert len(it.ready) == 2, "far longer than idle_seconds"
    await it.turns(30)
    assert it.ready == []
    assert not it.cloud.there


async def test_a_window_has_its_machines_and_the_log_says_why() -> None:
    it = PoolAhead(schedules=[MORNING])
    await it.at(7.99)
    with capture_logs() as logs:
        await it.turns(2)
        assert it.ready == []
        await it.turns(5)
    assert [log["reason"] for log in logs if log["event"] == "minting"] == ["schedule", "schedule"]
    await it.at(9.9)
    await it.turns(10)
    assert len(it.ready) == 2
    await it.at(10)
    await it.turns(10)
    assert it.ready == []


async def test_a_machine_is_there_when_likely_work_comes() -> None:
    it = PoolAhead(learn=True)
    it.fleet.histories["a"] = ArrivalHistory(6, {8: 5}, boot_seconds=120)
    await it.at(7.95)
    await it.turns(3)
    assert it.ready == []
    await it.at(7.97)
    await it.turns(3)
    assert it.ready == [Cause.LEARNED]
    await it.fleet.upload("a", 1)
    await it.turns(3)
    assert len(it.ready) == 1, "it does the work: no other is minted"


async def test_a_wish_beyond_the_limit_has_as_many_as_the_limit() -> None:
    it = PoolAhead(limit=2)
    await it.fleet.wake("a", 1_000, 600)
    await it.turns(5)
    assert len(it.ready) == it.fleet.most == 2


async def test_why_a_wish_is_not_met_is_shown() -> None:
    it = PoolAhead(max_usd_per_hour="0.1")

    async def dear() -> Sequence[Offer]:
        return [Offer("", Decimal("0.3"))]

    it.cloud.on_offers = dear
    await it.turns(1)
    assert it.autoscaler.pools["a"].not_minted == ""
    await it.fleet.wake("a", 1, 600)
    await it.turns(1)
    assert it.autoscaler.pools["a"].not_minted == "p: dearer than max_usd_per_hour (0.1)"


async def test_a_wish_costs_no_more_than_the_budget() -> None:
    it = PoolAhead(budget_usd_per_day="4", drain_seconds=900, orphan_seconds=600)

    async def hourly() -> Sequence[Offer]:
        return [Offer("", Decimal("3.6"))]

    it.cloud.on_offers = hourly
    await it.fleet.wake("a", 9, 24 * HOUR)
    spent = Decimal(0)
    for _ in range(400):
        await it.turns()
        spent += len(it.cloud.there) * Decimal("0.01")
    assert not it.cloud.there
    assert Decimal("1.5") < spent <= 4, "used, and not exceeded"
    assert len(it.cloud.orders) <= 4, "what leaves at the edge of the budget does not come back"
