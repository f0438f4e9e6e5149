"""What a machine without a worker fetches: with a token that may call home, and that still may afterwards."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.webhook.plane import control_plane
from webhook.bootstrap.worker_wheel import worker_requirements, worker_wheel

PARTS = ("script", "wheel", "requirements")


async def test_a_one_time_token_fetches_all_parts_and_calls_home(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        once = await plane.invite()
        got = {}
        for part in PARTS:
            answer = await plane.http.get(f"/v1/bootstrap/{part}", headers={"authorization": f"Bearer {once}"})
            assert answer.status_code == 200
            digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
            assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
            got[part] = answer
        assert got["wheel"].content == worker_wheel().content
        assert got["wheel"].headers["content-disposition"] == f"attachment; filename={worker_wheel().name}"
        assert got["requirements"].content == worker_requirements()
        assert b"def main(" in got["script"].content
        assert (await plane.hello(once)).status_code == 200


@pytest.mark.parametrize("part", PARTS)
async def test_nothing_is_given_without_a_token(part: str, postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for headers in ({}, {"authorization": "Bearer " + "x" * 43}):
            answer = await plane.http.get(f"/v1/bootstrap/{part}", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
