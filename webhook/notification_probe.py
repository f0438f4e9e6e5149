"""Sends a control plane an empty notification, as a store would: does it arrive, and is its secret taken?"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Literal

import httpx

from workers.bounded_read import BodyTooLong, read_bounded

_TIMEOUT_SECONDS = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_EMPTY = b'{"events":[]}'
"""A notification of Tigris without an event: nothing is recorded."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Answer to an empty notification."""

    outcome: Literal["taken", "refused", "stranger", "unreachable"]
    """``refused``: for its secret. ``stranger``: what answered is no control plane."""
    message: str
    """A sentence; holds no secret."""


def notification_url(base: str) -> str:
    """URL for a control plane's notifications of Tigris."""
    return f"{base.rstrip('/')}/v1/notifications/tigris"


async def probe_notifications(base: str, secret: str) -> ProbeResult:
    """Send an empty notification. Never raises.

    Args:
        base: URL of the control plane as the store has it.
        secret: One of ``YURT_WEBHOOK_SECRETS``: a token, or ``user:password``. Empty: none is sent.

    """
    try:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client,
            client.stream("POST", notification_url(base), content=_EMPTY, headers=_headers(secret)) as answer,
        ):
            return _judge(base, answer.status_code, await read_bounded(answer.aiter_bytes(), _MAX_ANSWER_BYTES))
    except BodyTooLong:
        return ProbeResult("stranger", f"what answers at {base} is no control plane: its answer is too long")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return ProbeResult("unreachable", f"no control plane answers at {base} ({str(error) or type(error).__name__})")


def _headers(secret: str) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if secret:
        scheme = f"Basic {b64encode(secret.encode()).decode()}" if ":" in secret else f"Bearer {secret}"
        headers["authorization"] = scheme
    return headers


def _judge(base: str, status: int, body: bytes) -> ProbeResult:
    if status == 200 and b'"accepted"' in body:
        return ProbeResult("taken", f"an empty notification to {base} was taken")
    if status == 401 and b'"unauthorized"' in body:
        return ProbeResult("refused", f"the control plane at {base} does not take this secret (401)")
    return ProbeResult("stranger", f"what answers at {base} is no control plane, or a proxy in front of it ({status})")
