"""What operators are told of notifications that are taken and refused."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.polling import until
from tests.webhook.plane import WEBHOOK, RunningPlane, configured, control_plane, event, killed, serving
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.postgres import PostgresServer

ANOTHER = "the secret of another bucket"


async def send(plane: RunningPlane, authorization: str, source: str = "tigris", query: str = "") -> int:
    headers = {"authorization": authorization} if authorization else {}
    url = f"/v1/notifications/{source}{query}"
    return (await plane.http.post(url, json={"events": [event("a.jpg")]}, headers=headers)).status_code


async def sender(plane: RunningPlane, source: str = "tigris") -> dict[str, Any]:
    """What the status says of a source, once everything is written."""
    await plane.plane.services.senders.write()
    senders: dict[str, dict[str, Any]] = (await plane.admin("GET", "/v1/status")).json()["senders"]
    return senders[source]


async def test_a_wrong_secret_is_told_by_status_and_by_one_line_a_minute_without_the_secret(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        with capture_logs() as lines:
            for _ in range(5):
                assert await send(plane, f"Bearer {ANOTHER}") == 401
        [line] = [line for line in lines if line["event"] == "notification refused"]
        assert (line["source"], line["error"]) == ("tigris", "unauthorized")
        assert "none of YURT_WEBHOOK_SECRETS" in line["reason"]
        assert ANOTHER not in str(lines)
        told = await sender(plane)
        assert (told["refused"], told["error"], told["taken_seconds"]) == (5, "unauthorized", None)
        assert told["message"] == line["reason"]
        assert await send(plane, f"Bearer {WEBHOOK}") == 200
        assert await send(plane, f"Bearer {ANOTHER}") == 401
        told = await sender(plane)
        assert told["refused"] == 6  # added to what was written before
        assert 0 <= told["refused_seconds"] < told["taken_seconds"] < 60


async def test_each_fault_is_named(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for authorization, query, says in (
            ("", "", "no secret"),
            ("Basic dXNlcjpwYXNz", "", "a Basic secret that is none of"),
            ("Digest abc", "", "neither Bearer nor Basic"),
            ("", f"?token={WEBHOOK}", "takes no secret from the URL"),
        ):
            assert await send(plane, authorization, query=query) == 401
            assert says in (await sender(plane))["message"]
        assert await send(plane, "", "s3", "?token=another") == 401
        assert "URL's token is none of" in (await sender(plane, "s3"))["message"]


async def test_a_wrong_path_is_told_without_the_senders_own_text(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        assert await send(plane, f"Bearer {WEBHOOK}", "tigers") == 404
        told = await sender(plane, "unknown")
        assert (told["refused"], told["error"]) == (1, "unknown-source")
        assert "tigers" not in told["message"]


async def test_what_is_malformed_is_told(postgres_dsn: str) -> None:
    config = configured(server={"body_limit_bytes": 1024})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        headers = {"authorization": f"Bearer {WEBHOOK}"}
        response = await plane.http.post("/v1/notifications/tigris", content=b"x" * 2000, headers=headers)
        assert response.status_code == 413
        assert (await sender(plane))["error"] == "too-large"


async def test_what_an_unreachable_ledger_did_not_take_is_written_with_the_next(mortal: PostgresServer) -> None:
    async with serving(mortal.dsn, configured(), loops=False) as plane:
        assert await send(plane, "") == 401
        senders = plane.plane.services.senders
        await killed(mortal, plane)
        try:
            with pytest.raises(LedgerUnavailable):
                await senders.write()
        finally:
            mortal.start()
        assert await send(plane, f"Bearer {ANOTHER}") == 401
        told = await sender(plane)
        assert (told["refused"], "Bearer" in told["message"]) == (2, True)


async def test_counts_reach_the_ledger_by_themselves(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        assert await send(plane, "") == 401

        async def shown() -> bool:
            return "tigris" in (await plane.admin("GET", "/v1/status")).json()["senders"]

        await until(shown)
