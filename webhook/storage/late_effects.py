"""How long a request to the store may take effect after its sender has given it up.

A lease guards an object's outputs, and ETags name bytes: once the lease has ended, another one may publish the same
bytes, and a DELETE or a copy that is carried out only then would hit them. So a change of outputs ends before the lease
that guards it: with an answer, or by waiting until it cannot take effect any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

Answer = TypeVar("Answer")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
ATTEMPTS = 3
"""Of one call of the store's client, each with its time to connect and to answer."""
_PAUSE_SECONDS = 5.0
"""More than all pauses between these attempts."""

EFFECT_SECONDS = 20.0
"""Within this a store carries out a request that it has begun to take in, or drops it: an assumption, since no store
promises it."""
ABANDONED_SECONDS = ATTEMPTS * (CONNECT_SECONDS + ANSWER_SECONDS) + _PAUSE_SECONDS + EFFECT_SECONDS
"""Within this a call that its caller has cancelled cannot take effect any more: it goes on in its thread."""

_UNSURE = frozenset({500, 502, 504})
"""Statuses of a server or a proxy that does not know whether the request was carried out."""


async def outlasted(sent: Awaitable[Answer], effect_seconds: float) -> Answer:
    """Wait for the answer to a change of an object, and then until no attempt of it can take effect any more.

    A sure answer costs no wait. Raises the SDK's errors.
    """
    try:
        answer = await sent
    except (ClientError, BotoCoreError) as error:
        # Without an answer nothing is known of it.
        if not isinstance(error, ClientError) or _may_come_late(error.response):
            await asyncio.sleep(effect_seconds)
        raise
    if _may_come_late(answer):
        await asyncio.sleep(effect_seconds)
    return answer


def _may_come_late(answer: Any) -> bool:
    """Whether the request, or an earlier attempt of it, may still take effect after this answer."""
    said = answer.get("ResponseMetadata", {})
    return said.get("RetryAttempts", 0) > 0 or said.get("HTTPStatusCode") in _UNSURE


@contextlib.asynccontextmanager
async def bounded(seconds: float) -> AsyncIterator[None]:
    """Bound changes of outputs in time. If they take longer, wait until none of them can take effect any more.

    Raises TimeoutError after that wait.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        await asyncio.sleep(ABANDONED_SECONDS)
        raise
