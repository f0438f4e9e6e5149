"""Phases of costs: what they are for."""

from __future__ import annotations

import re

import asyncpg
import pytest

from webhook.cost_phases import PHASES, Phase, beneficiary


@pytest.mark.parametrize(
    ("phase", "name", "expected"),
    [("work", "photos", "photos"), ("service", "sdxl", "service:sdxl"), ("idle", "", ""), ("boot", "", "")],
)
def test_what_a_cost_was_for(phase: Phase, name: str, expected: str) -> None:
    assert beneficiary(phase, name) == expected


async def test_the_ledger_knows_each_phase_and_no_other(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        query = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'spending_phase_check'"
        check = await connection.fetchval(query)
    finally:
        await connection.close()
    assert sorted(re.findall(r"'(\w+)'::text", check)) == sorted(PHASES)
