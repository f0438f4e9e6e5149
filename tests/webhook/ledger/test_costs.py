"""What machines cost is counted exactly, by the day, and by what they did."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from tests.webhook.ledger.ledger_bench import LedgerBench, bench, done, event
from webhook.config import RetentionSettings
from webhook.ledger.costs import accrue, costs_today, reserve_usd
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Settlement
from webhook.ledger.machines import Budget, SpendingToday, Terms
from webhook.ledger.retention import Pruner
from workers.slot_time import SlotTime

Row = tuple[str, str, str, Decimal]


async def machine(b: LedgerBench, usd_per_hour: str = "1", slots: int = 2) -> int:
    worker = await b.worker("ready", "a")
    await b.sql(
        "update workers set ref = 'r', usd_per_hour = $2, slots = $3, ready_at = yurt_now(), costed_at = yurt_now()"
        " where id = $1",
        worker,
        Decimal(usd_per_hour),
        slots,
    )
    return worker


async def spent(b: LedgerBench) -> list[Row]:
    """Day, phase, pipeline and amount."""
    async with b.database.connection() as connection:
        await accrue(connection)
    rows = await b.ledger.fetch("spending", date(2026, 1, 1), date(2027, 1, 1), 1000)
    return [(f"{row['day']:%d}", row["phase"], row["pipeline"], row["usd"].normalize()) for row in rows]


async def test_a_night_is_split_at_midnight_utc(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:  # 10:30
        await machine(b)
        await b.advance(14 * 3600)
        assert await spent(b) == [("15", "idle", "", Decimal("13.5")), ("16", "idle", "", Decimal("0.5"))]


async def test_before_it_called_home_a_machine_boots(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await machine(b, "3.6")
        await b.sql("update workers set ready_at = null, state = 'booting' where id = $1", worker)
        await b.advance(100)
        await b.sql("update workers set ready_at = yurt_now(), state = 'ready' where id = $1", worker)
        await b.advance(900)
        assert await spent(b) == [("15", "boot", "", Decimal("0.1")), ("15", "idle", "", Decimal("0.9"))]


async def test_slots_that_hold_leases_work_for_their_pipelines(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await machine(b, "3.6", slots=4)
        await b.record(event("a.jpg"), event("b.jpg"))
        await b.record(event("c.mp4"), pipelines=[b.videos])
        await b.claim(worker=worker)
        await b.claim(worker=worker, pipeline=b.videos)
        await b.advance(4)
        assert await spent(b) == [
            ("15", "idle", "", Decimal("0.001")),
            ("15", "work", "photos", Decimal("0.002")),
            ("15", "work", "videos", Decimal("0.001")),
        ]


async def test_a_machine_that_a_service_has_costs_for_it(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await machine(b, "3.6")
        await b.advance(100)
        assert await spent(b) == [("15", "idle", "", Decimal("0.1"))]
        await b.sql(
            "insert into service_machines (worker_id, service, idle_seconds, used_at)"
            " values ($1, 'sdxl', 300, yurt_now())",
            worker,
        )
        await b.advance(200)
        assert await spent(b) == [("15", "idle", "", Decimal("0.1")), ("15", "service", "sdxl", Decimal("0.2"))]
        await b.advance(200)  # it is not the service's any more, and others may have it
        assert await spent(b) == [("15", "idle", "", Decimal("0.3")), ("15", "service", "sdxl", Decimal("0.2"))]


async def test_a_machine_with_more_leases_than_slots_costs_no_more_than_it_does(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await machine(b, "3.6", slots=2)
        await b.record(*(event(f"{n}.jpg") for n in range(4)))
        await b.claim(worker=worker)
        await b.advance(10)
        assert await spent(b) == [("15", "work", "photos", Decimal("0.01"))]


async def test_what_was_counted_is_not_counted_again(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await machine(b)
        await b.advance(3600)
        assert await spent(b) == await spent(b) == [("15", "idle", "", Decimal(1))]


async def test_a_clock_that_is_set_back_counts_nothing_twice(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await machine(b)
        await b.advance(3600)
        first = await spent(b)
        await b.advance(-1800)
        assert await spent(b) == first


def test_the_most_that_a_machine_can_cost_is_exact() -> None:
    assert reserve_usd(Terms(Decimal("0.3"), Decimal("0.01"), reserve_seconds=1_200)) == Decimal("0.11")


def test_the_tighter_budget_decides() -> None:
    spending = SpendingToday(Decimal(2), Decimal(5), Decimal(1), Decimal(2))
    assert spending.left(Budget()) is None
    assert spending.left(Budget(pool_usd=Decimal(10))) == 7
    assert spending.left(Budget(pool_usd=Decimal(10), all_usd=Decimal(8))) == 1


async def ahead(b: LedgerBench) -> list[tuple[str, int, int, int, Decimal]]:
    """Reason, machines present, ever minted, that helped, and US dollars until they did."""
    rows = await b.ledger.fetch("ahead")
    return [(r["cause"], r["present"], r["minted"], r["helped"], r["usd"].normalize()) for r in rows]


async def minted_for(b: LedgerBench, cause: str, usd_per_hour: str = "3.6") -> int:
    worker = await machine(b, usd_per_hour)
    await b.sql("update workers set cause = $2 where id = $1", worker, cause)
    return worker


async def test_what_a_machine_costs_ahead_of_the_work_ends_with_its_first_lease(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await minted_for(b, "wake")
        await b.advance(100)
        assert await ahead(b) == [("wake", 1, 1, 0, Decimal("0.1"))]
        await spent(b)
        await b.advance(100)
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})
        await fleet.active(worker, None)
        await b.advance(100)
        await spent(b)
        await fleet.active(worker, None)
        assert await ahead(b) == [("wake", 1, 1, 1, Decimal("0.2"))]


async def test_a_machine_that_never_got_a_lease_cost_all_of_it_ahead(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        worker = await minted_for(b, "learned")
        await b.advance(100)
        await b.sql("update workers set state = 'slaying' where id = $1", worker)
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})
        await b.advance(10)
        await fleet.gone(worker)
        await b.advance(1_000)
        assert await ahead(b) == [("learned", 0, 1, 0, Decimal("0.11"))]


async def test_counts_of_machines_ahead_outlive_their_rows(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await minted_for(b, "schedule")
        helped, unused = await minted_for(b, "wake"), await minted_for(b, "wake")
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})
        await machine(b)
        await b.advance(100)
        await fleet.active(helped, None)
        for worker in (helped, unused):
            await b.sql("update workers set state = 'slaying' where id = $1", worker)
            await fleet.gone(worker)
        before = await ahead(b)
        assert before == [("schedule", 1, 1, 0, Decimal("0.1")), ("wake", 0, 2, 1, Decimal("0.2"))]
        await b.sql("update workers set state_at = state_at - interval '8 days' where state = 'gone'")
        for _ in range(2):
            await Pruner(b.ledger, RetentionSettings()).prune()
        assert await b.sql("select count(*) from workers where state = 'gone'") == 0
        assert await ahead(b) == before


async def test_what_results_cost_by_the_workers_reckoning_is_what_was_spent_on_work(postgres_dsn: str) -> None:
    """Two slots, up to four leases that begin and end at different times."""
    async with bench(postgres_dsn) as b:
        worker = await machine(b, "3.6", slots=2)
        await b.record(*(event(f"{n}.jpg") for n in range(4)))
        seconds = 0
        time = SlotTime(2, lambda: seconds * 10**9)
        held, cost = [], Decimal(0)
        for step in (1, 1, 1, 1, -1, -1, -1, -1):
            if step > 0:
                [lease] = await b.claim(1, worker=worker)
                held.append((lease, time.begin()))
            else:
                lease, share = held.pop(0)
                cost += Decimal(share.usd("3.6") or 0)
                await b.ledger.settle([Settlement(lease.id, lease.token, worker, done())])
                time.end()
            seconds += 7
            await b.advance(7)
            rows = await spent(b)  # at each change, so that the ledger sees all of them
        work = sum(usd for _, phase, _, usd in rows if phase == "work")
        assert abs(work - cost) < Decimal("1E-11")
        assert sum(usd for *_, usd in rows) == Decimal("0.056"), "with what is idle, the bill"


async def test_results_are_counted_by_the_day(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:  # 10:30
        worker = await machine(b, "3.6", slots=4)
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})

        async def finish(*keys: str) -> None:
            await b.record(*map(event, keys))
            leases = await b.claim(len(keys), worker=worker)
            await b.advance(10)
            await fleet.accrue()
            await b.ledger.settle([Settlement(lease.id, lease.token, worker, done()) for lease in leases])

        await finish("a", "b")
        costs = await costs_today(b.ledger)
        assert (costs.results["photos"], costs.work["photos"]) == (2, Decimal("0.005"))
        assert costs.per_result("photos") == Decimal("0.0025")
        assert costs.per_result("videos") is None
        assert costs.by_pool == {"a": {"idle": Decimal("0.005"), "work": Decimal("0.005")}}
        await b.advance(14 * 3600)
        await fleet.accrue()
        assert (await costs_today(b.ledger)).results["photos"] == 0
        await finish("c", "d", "e")
        assert (await costs_today(b.ledger)).results["photos"] == 3
