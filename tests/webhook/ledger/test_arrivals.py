"""What arrives is counted by the hour, each change once, and read back by the hour of the week."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.webhook.ledger.ledger_bench import LedgerBench, bench, done, event
from webhook.config import RetentionSettings
from webhook.fleet.ahead import Foresight
from webhook.ledger.arrivals import MOST_WEEKS, ArrivalHistory, arrival_history, count_arrivals, count_requests
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.retention import Pruner
from webhook.pool_settings import Pool

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


async def test_requests_of_a_pools_services_are_what_arrives_for_it(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        served = {"gpu": {"sdxl": 1, "chat": 2}, "cpu": {}}
        fleet = LedgerFleet(
            b.ledger, owner="yurt", pipelines=lambda pool: [b.photos] if pool == "gpu" else [], slots={}, limits={},
            services=lambda pool: served[pool],
        )  # fmt: skip
        await count_requests(b.ledger, {"sdxl": 0, "chat": 0, "other": 5})
        for week in range(3):
            await count_requests(b.ledger, {"sdxl": 3})
            await b.advance(HOUR)
            if week:
                await count_requests(b.ledger, {"chat": 1})
            await count_requests(b.ledger, {"other": 1})
            await b.advance(WEEK - HOUR)
        assert await fleet.arrivals("gpu") == ArrivalHistory(3, {FRIDAY_10: 3, FRIDAY_10 + 1: 2})
        assert await fleet.arrivals("cpu") == ArrivalHistory()
        expected = [await Foresight(pool, Pool(learn=True), fleet, 5.0).now() for pool in served]
        assert [ahead.learned for ahead in expected] == [1, 0]
        served["cpu"]["sdxl"] = served["gpu"].pop("sdxl")
        assert (await fleet.arrivals("cpu")).busy_weeks == {FRIDAY_10: 3}, "a service takes its history along"


async def test_an_hour_in_which_objects_and_requests_come_is_one(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await count_arrivals(b.ledger)
        await upload(b)
        await count_arrivals(b.ledger)
        await b.advance(WEEK)
        await count_requests(b.ledger, {"sdxl": 2})
        await b.advance(WEEK)
        both = await arrival_history(b.ledger, "a", [b.photos], ["sdxl"])
        assert both == ArrivalHistory(2, {FRIDAY_10: 2}), "counted since the earlier of both"
        await count_requests(b.ledger, {"sdxl": 1})
        await b.advance(-HOUR)
        await upload(b)
        await count_arrivals(b.ledger)
        assert (await arrival_history(b.ledger, "a", [], ["sdxl"])).weeks == 0, "only whole weeks"


async def test_replicas_add_requests_at_the_same_time(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        names = [f"service-{number:04d}" for number in range(1_000)]
        orders = [dict.fromkeys(names, 1), dict.fromkeys(reversed(names), 1)] * 2
        for _ in range(3):
            await asyncio.gather(*(count_requests(b.ledger, order) for order in orders))
        async with b.database.connection() as connection:
            rows = await connection.fetch("select service, requests from service_arrivals order by 1")
        assert [tuple(row) for row in rows] == [(name, 12) for name in names]


async def test_earlier_weeks_of_requests_are_forgotten(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for _ in range(10):
            await count_requests(b.ledger, {"sdxl": 1})
            await b.advance(WEEK)
            await Pruner(b.ledger, RetentionSettings()).prune()
        history = await arrival_history(b.ledger, "a", [], ["sdxl"])
        assert history == ArrivalHistory(MOST_WEEKS, {FRIDAY_10: MOST_WEEKS})
        async with b.database.connection() as connection:
            assert await connection.fetchval("select count(*) from service_arrivals") <= MOST_WEEKS + 1


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
