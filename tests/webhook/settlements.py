"""Settlements as a worker sends them."""

from __future__ import annotations

from typing import Any

from tests.webhook import plane
from workers import protocol

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
"""Of the content that ``done`` says was processed."""


def done(lease: protocol.Lease, **fields: object) -> dict[str, Any]:
    """The lease's content was processed. ``fields`` replace fields of the message."""
    return plane.done(lease, {"result.json": "r"}, ETAG) | fields


def failed(lease: protocol.Lease, **fields: object) -> dict[str, Any]:
    """The lease's content could not be processed. ``fields`` replace fields of the message."""
    message = {"outcome": "failed", "id": lease.id, "token": lease.token}
    return message | {"reason": "crashed", "message": "", "retry": True} | fields


async def settle(
    on: plane.RunningPlane, worker: plane.Worker, key: str, bucket: str = "inbox", **fields: object
) -> None:
    """Have an object done by a worker, or failed where ``fields`` have a reason. They replace fields of the message."""
    await on.notify(plane.event(key, bucket=bucket))
    lease = await worker.lease()
    await worker.ask(most=0, settle=[(failed if "reason" in fields else done)(lease, **fields)])
