"""What a view shows: callbacks that were given up, and an app that was deployed."""

from __future__ import annotations

from typing import Any

from tests.webhook.page.visits import parked
from tests.webhook.plane import RunningPlane, pipeline
from webhook.ledger.callbacks import CallbackOutbox

APP = {"url": "http://127.0.0.1:9/hook", "allow_private": True}
"""A callback to nowhere."""


async def given_up(plane: RunningPlane, *keys: str, **fields: object) -> dict[str, int]:
    """Settle objects whose callbacks are given up. Returns the callbacks' numbers by key."""
    [number] = plane.services.pipelines.by_id
    outbox = CallbackOutbox(plane.services.ledger)
    await outbox.begin(number)
    await parked(plane, *keys, **{"message": "No <photo>.", **fields})
    await plane.services.settles.number()
    await outbox.feed(number)
    await plane.sql(
        "update callbacks set state = 'given-up', ended_at = yurt_now(), attempts = 9, status = 500,"
        " error = 'it answered 500'"
    )
    await plane.sql("update callback_feeds set given_up = fed")
    return {row["key"]: row["id"] for row in await plane.sql("select id, key from callbacks")}


async def deploy(plane: RunningPlane, program: str, note: str = "", **fields: Any) -> None:
    """Deploy an app with one pipeline that runs a program."""
    caption = pipeline(
        "captions-in", "captions-out", conditions="quoted", handler="command",
        options={"argv": [program, "{input}", "{output}/copy"]}, **fields,
    )  # fmt: skip
    body = {"app": "captions", "definitions": {"pipelines": {"caption": caption}}, "note": note}
    response = await plane.admin("POST", "/v1/deployments", json=body)
    assert response.status_code == 200, response.text
