"""Phases of costs: what they are for."""

from __future__ import annotations

import re

import asyncpg
import pytest

from tests import postgres
from webhook.cost_phases import PHASES, Phase, beneficiary


@pytest.mark.parametrize(
    ("phase", "name", "expected"),
    [("work", "photos", "photos"), ("service", "sdxl", "service:sdxl"), ("idle", "", ""), ("boot", "", "")],
)
def test_what_a_cost_was_for(phase: Phase, name: str, expected: str) -> None:
    assert beneficiary(phase, name) == expected


async def test_the_ledger_knows_each_phase_and_no_other(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, dsn), asyncpg.create_pool(dsn, min_size=0) as pool:
        query = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'spending_phase_check'"
        check = await pool.fetchval(query)
    assert sorted(re.findall(r"'(\w+)'::text", check)) == sorted(PHASES)
