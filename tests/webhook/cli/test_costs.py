"""``yurt costs`` against a running control plane."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

from tests.webhook.cli.operator import yurt
from tests.webhook.plane import RunningPlane, control_plane
from webhook.cli.costs import added_up

BILL = [
    ("2026-05-01", "gpu", "vast", "work", "photos", "0.1"),
    ("2026-05-01", "gpu", "vast", "work", "videos", "0.2"),
    ("2026-05-01", "gpu", "home", "idle", "", "0.05"),
    ("2026-05-02", "gpu", "vast", "service", "photos", "0.4"),
    ("2026-05-02", "gpu", "vast", "boot", "", "0.01"),
    ("2026-05-02", "cpu", "vast", "once", "", "0.003"),
]
FIELDS = ("day", "pool", "provider", "phase", "pipeline", "usd")


async def spent(plane: RunningPlane) -> None:
    for day, *texts, usd in BILL:
        await plane.sql(
            f"insert into spending ({', '.join(FIELDS)}) values ($1, $2, $3, $4, $5, $6)",
            date.fromisoformat(day), *texts, Decimal(usd),
        )  # fmt: skip


async def test_a_table_has_a_total_and_tells_idle_and_boot_from_work(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await spent(plane)
        result = await yurt(plane, "costs", "--since", "2026-05-01", "--until", "2026-05-02")
        assert result.returncode == 0, result.stderr
        lines = [line.split() for line in result.stdout.splitlines()]
        assert ["pool", "work", "service", "idle", "boot", "once", "total"] in lines
        assert ["gpu", "0.3000", "0.4000", "0.0500", "0.0100", "0.0000", "0.7600"] in lines
        assert ["total", "0.3000", "0.4000", "0.0500", "0.0100", "0.0030", "0.7630"] in lines


async def test_json_and_csv_are_exact_and_the_sum_is_the_bill(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await spent(plane)
        days = ("--since", "2026-05-01", "--until", "2026-05-02")
        costs = json.loads((await yurt(plane, "costs", "--by", "pipeline", "--json", *days)).stdout)
        assert (costs["total_usd"], costs["by"]) == ("0.763", "pipeline")
        assert [(line["name"], line["total_usd"]) for line in costs["costs"]] == [
            ("service:photos", "0.4"), ("videos", "0.2"), ("photos", "0.1"), ("(no pipeline)", "0.063"),
        ]  # fmt: skip
        assert (await yurt(plane, "costs", "--by", "day", "--csv", *days)).stdout.splitlines() == [
            "day,work,service,idle,boot,once,total_usd",
            "2026-05-01,0.3,0,0.05,0,0,0.35",
            "2026-05-02,0,0.4,0,0.01,0.003,0.413",
        ]


async def test_nothing_was_spent(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        result = await yurt(plane, "costs", "--since", "2026-05-01", "--until", "2026-05-02")
        assert result.stdout == "Nothing was spent from 2026-05-01 to 2026-05-02 (UTC).\n"
        wrong = await yurt(plane, "costs", "--since", "2026-05-03", "--until", "2026-05-02")
        assert wrong.returncode == 1
        assert "a later day" in wrong.stderr
        assert (await yurt(plane, "costs", "--json", "--csv")).returncode == 2


def test_every_way_to_add_up_keeps_the_sum() -> None:
    costs = [dict(zip(FIELDS, row, strict=True)) for row in BILL]
    for by in ("pipeline", "pool", "provider", "day", "phase"):
        assert sum(line.total for line in added_up(costs, by)) == Decimal("0.763")
