"""A change of an object ends only when no request of it can take effect any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from webhook.storage.late_effects import outlasted


def answer(status: int, retries: int = 0) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries}}


async def raised(error: Exception) -> Any:
    raise error


async def given(value: Any) -> Any:
    return value


def refused(status: int, retries: int = 0) -> Awaitable[Any]:
    return raised(ClientError({"Error": {}, **answer(status, retries)}, "DeleteObject"))  # type: ignore[typeddict-item]


SURE: dict[str, Callable[[], Awaitable[Any]]] = {
    "done": lambda: given(answer(204)),
    "refused": lambda: refused(503),
    "condition": lambda: refused(412),
}
UNSURE: dict[str, Callable[[], Awaitable[Any]]] = {
    "done at the second attempt": lambda: given(answer(204, 1)),
    "condition at the second attempt": lambda: refused(412, 1),
    "proxy": lambda: refused(502),
    "no answer": lambda: raised(ReadTimeoutError(endpoint_url="")),
}


@pytest.mark.parametrize("name", [*SURE, *UNSURE])
async def test_only_what_may_come_late_is_outlasted(name: str) -> None:
    sent = (SURE | UNSURE)[name]()
    waiting = asyncio.ensure_future(outlasted(sent, 3600.0))
    # Each turn of the loop brings it further, unless it sleeps.
    for _ in range(10):
        await asyncio.sleep(0)
    assert waiting.done() is (name in SURE)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
