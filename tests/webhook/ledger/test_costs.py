"""What machines cost is counted exactly, by the day, and by what they did."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from tests.webhook.ledger.ledger_bench import LedgerBench, bench, event
from webhook.ledger.costs import accrue, reserve_usd
from webhook.ledger.machines import Budget, SpendingToday, Terms

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
