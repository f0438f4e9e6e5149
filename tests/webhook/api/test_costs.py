"""What people are told of costs, over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tests.webhook.plane import RunningPlane, configured, control_plane, event
from tests.webhook.settlements import done
from webhook.ledger.machines import PoolReport
from webhook.pool_settings import Pool


async def spend(plane: RunningPlane, day: str, usd: str, phase: str = "idle", pipeline: str = "", **more: str) -> None:
    where = {"pool": "local", "provider": "home", **more}
    await plane.sql(
        "insert into spending (day, pool, provider, phase, pipeline, usd) values ($1, $2, $3, $4, $5, $6)",
        date.fromisoformat(day), where["pool"], where["provider"], phase, pipeline, Decimal(usd),
    )  # fmt: skip


async def test_costs_are_exact_and_add_up(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await spend(plane, "2026-05-01", "0.1", "work", "photos")
        await spend(plane, "2026-05-01", "0.2")
        await spend(plane, "2026-05-02", "0.00000000000000000001", "once")
        await spend(plane, "2026-05-03", "7")
        answer = (await plane.admin("GET", "/v1/costs?since=2026-05-01&until=2026-05-02")).json()
        assert answer["total_usd"] == "0.30000000000000000001"
        assert [(row["day"], row["phase"], row["pipeline"], row["usd"]) for row in answer["costs"]] == [
            ("2026-05-01", "idle", "", "0.2"),
            ("2026-05-01", "work", "photos", "0.1"),
            ("2026-05-02", "once", "", "0.00000000000000000001"),
        ]
        assert {(row["pool"], row["provider"]) for row in answer["costs"]} == {("local", "home")}


async def test_by_default_it_is_the_last_thirty_days(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        [row] = await plane.sql("select (yurt_now() at time zone 'utc')::date as today")
        answer = (await plane.admin("GET", "/v1/costs")).json()
        assert answer["until"] == str(row["today"])
        assert (date.fromisoformat(answer["until"]) - date.fromisoformat(answer["since"])).days == 29
        assert (answer["costs"], answer["total_usd"]) == ([], "0")
        first = (await plane.admin("GET", "/v1/costs?until=2020-01-30")).json()
        assert (first["since"], first["until"]) == ("2020-01-01", "2020-01-30")


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ("since=2026-05-02&until=2026-05-01", "malformed", "a later day"),
        ("since=2020-01-01&until=2026-05-01", "malformed", "366 days"),
        ("since=2020-01-01", "too-many", "ask for fewer"),
        ("since=May", "malformed", "since"),
        ("since=9999-12-31", "malformed", "since"),
        ("from=2026-05-02", "malformed", "from"),
    ],
)
async def test_days_that_cannot_be_reported_are_refused(postgres_dsn: str, query: str, error: str, says: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        response = await plane.admin("GET", f"/v1/costs?{query}")
        assert (response.status_code, response.json()["error"]) == (422, error)
        assert says in response.json()["message"]


async def test_money_in_the_status_and_in_the_metrics(postgres_dsn: str) -> None:
    pools = {"local": Pool(provider="none", budget_usd_per_day=Decimal("2.50"))}
    config = configured(pools=pools, server={"budget_usd_per_day": "9.9"})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        [row] = await plane.sql("select (yurt_now() at time zone 'utc')::date::text as today")
        await spend(plane, row["today"], "0.75")
        await spend(plane, row["today"], "0.5", pool="former")
        await spend(plane, "2026-01-01", "1.25")
        worker = await plane.worker()
        await plane.sql("update workers set usd_per_hour = 0.3 where id = $1", worker.id)
        await plane.services.fleet.report({"local": PoolReport(not_minted="home: no room")}, {})
        status = (await plane.admin("GET", "/v1/status")).json()
        money = ("spent_today_usd", "budget_usd_per_day", "usd_per_hour", "not_minted")
        assert [status["pools"]["local"][name] for name in money] == ["0.75", "2.5", "0.3", "home: no room"]
        assert [status["pools"]["former"][name] for name in money] == ["0.5", None, "0", ""]
        assert (status["spent_today_usd"], status["budget_usd_per_day"]) == ("1.25", "9.9")
        assert status["pools"]["local"]["today_usd"] == {"idle": "0.75"}
        metrics = (await plane.http.get("/metrics")).text.splitlines()
        assert {line for line in metrics if line.startswith(("yurt_spent", "yurt_budget", "yurt_pool_not"))} == {
            'yurt_spent_usd_total{phase="idle",pool="former",provider="home"} 0.5',
            'yurt_spent_usd_total{phase="idle",pool="local",provider="home"} 2.0',
            'yurt_spent_today_usd{pool="former"} 0.5',
            'yurt_spent_today_usd{pool="local"} 0.75',
            'yurt_budget_usd{pool=""} 9.9',
            'yurt_budget_usd{pool="local"} 2.5',
            'yurt_pool_not_minted{pool="local"} 1.0',
        }


async def test_what_a_result_has_cost_today_and_the_price_that_its_worker_was_told(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        paid, free = await plane.worker(), await plane.worker()
        await plane.notify(event("a.jpg"), event("b.jpg"))
        await plane.sql("update workers set usd_per_hour = 0.36 where id = $1", paid.id)
        lease = await paid.lease()
        assert (lease.usd_per_hour, (await free.lease()).usd_per_hour) == ("0.36", None)
        await paid.ask(most=0, settle=[done(lease)])
        await plane.services.fleet.accrue()
        [row] = await plane.sql("select (yurt_now() at time zone 'utc')::date::text as today")
        await spend(plane, row["today"], "0.75", "work", "photos")
        photos = (await plane.admin("GET", "/v1/status")).json()["pipelines"]["photos"]
        assert (photos["results_today"], photos["work_today_usd"], photos["usd_per_result"]) == (1, "0.75", "0.75")
