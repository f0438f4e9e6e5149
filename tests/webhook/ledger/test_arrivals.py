"""What arrives is counted by the hour, each change once, and read back by the hour of the week."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.webhook.ledger.ledger_bench import LedgerBench, bench, done, event
from webhook.config import RetentionSettings
from webhook.ledger.arrivals import MOST_WEEKS, ArrivalHistory, arrival_history, count_arrivals
from webhook.ledger.retention import Pruner

HOUR, WEEK = 3_600.0, 604_800.0
FRIDAY_10 = 4 * 24 + 10
"""The hour of the week at which the test's clock stands: Friday, 10:30 UTC."""
_numbers = itertools.count()


async def upload(b: LedgerBench, count: int = 1, pipeline: int | None = None) -> None:
    events = [event(f"{next(_numbers)}.jpg") for _ in range(count)]
    await b.record(*events, pipelines=[pipeline or b.photos])


async def hours(b: LedgerBench) -> list[tuple[int, str, int]]:
    async with b.database.connection() as connection:
        rows = await connection.fetch(
            "select pipeline_id, to_char(hour at time zone 'utc', 'DD HH24:MI'), changes from arrivals order by 1, 2"
        )
    return [tuple(row) for row in rows]


async def history(b: LedgerBench, *pipelines: int) -> ArrivalHistory:
    return await arrival_history(b.ledger, "a", pipelines or [b.photos])


async def test_each_change_is_counted_once_in_its_hour(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        await upload(b, 3)
        await upload(b, 2, b.videos)
        await count_arrivals(b.ledger)
        await count_arrivals(b.ledger)
        await b.advance(HOUR)
        await upload(b, 4)
        await count_arrivals(b.ledger)
        assert await hours(b) == [(b.photos, "15 10:00", 3), (b.photos, "15 11:00", 4), (b.videos, "15 10:00", 2)]


async def test_what_was_there_before_counting_began_is_not_counted(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await upload(b, 3)
        await count_arrivals(b.ledger)
        assert await hours(b) == []


async def test_duplicates_and_work_again_are_no_arrivals(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        same = event("a.jpg", mark="the same")
        await b.record(same)
        await b.record(same)
        await b.settle(await b.take(), done())
        await count_arrivals(b.ledger)
        assert await hours(b) == [(b.photos, "15 10:00", 1)]


async def test_replicas_count_nothing_twice(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        replica = b.replica()
        for _ in range(5):
            await upload(b, 2)
            await asyncio.gather(*(count_arrivals(one) for one in (b.ledger, replica, b.ledger, replica)))
        assert await hours(b) == [(b.photos, "15 10:00", 10)]


async def test_the_history_tells_in_how_many_weeks_an_hour_was_busy(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        for week in range(4):
            await upload(b, 5)
            await count_arrivals(b.ledger)
            await b.advance(2 * HOUR)
            if week % 2:
                await upload(b)
                await count_arrivals(b.ledger)
            await b.advance(WEEK - 2 * HOUR)
        assert await history(b) == ArrivalHistory(4, {FRIDAY_10: 4, FRIDAY_10 + 2: 2})
        await b.advance(-HOUR)
        assert (await history(b)).weeks == 3, "only whole weeks"
        assert await history(b, b.videos) == ArrivalHistory(3)


async def test_an_hour_in_which_several_pipelines_have_work_is_one(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        await upload(b)
        await upload(b, 1, b.videos)
        await count_arrivals(b.ledger)
        await b.advance(WEEK)
        assert await history(b, b.photos, b.videos) == ArrivalHistory(1, {FRIDAY_10: 1})
        assert await arrival_history(b.ledger, "a", []) == ArrivalHistory()


async def test_earlier_weeks_are_forgotten_and_the_table_stays_bounded(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        for _ in range(10):
            await upload(b)
            await count_arrivals(b.ledger)
            await b.advance(WEEK)
            await Pruner(b.ledger, RetentionSettings()).prune()
        assert await history(b) == ArrivalHistory(MOST_WEEKS, {FRIDAY_10: MOST_WEEKS})
        assert len(await hours(b)) <= MOST_WEEKS + 1


async def test_the_usual_boot_is_in_the_middle_of_the_latest(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for seconds in [900] * 5 + [40] * 9 + [60] + [80] * 10:
            worker = await b.worker("ready", "a")
            await b.sql(
                "update workers set ref = 'r', ready_at = created_at + make_interval(secs => $2) where id = $1",
                worker,
                float(seconds),
            )
        await b.worker("booting", "a")
        assert (await history(b)).boot_seconds == pytest.approx(70)
        assert (await arrival_history(b.ledger, "b", [])).boot_seconds is None
