"""Which machine serves which service, and whose its slots are: promises of ServiceLedger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.webhook.ledger.service_promises import PROMISES, services
from webhook.ledger.services import REPLICA_SECONDS


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_ledger_keeps_its_promise(postgres_dsn: str, promise: Callable[[str], Awaitable[None]]) -> None:
    await promise(postgres_dsn)


@pytest.mark.parametrize("token", ["token of a", "token of c"])
async def test_replicas_know_each_other_by_their_tokens(postgres_dsn: str, token: str) -> None:
    async with services(postgres_dsn) as s:
        await s.replica("a")
        assert await s.ledger.replica_known(token) is (token == "token of a")
        await s.bench.advance(REPLICA_SECONDS + 1)
        assert not await s.ledger.replica_known(token)
