"""Work that one replica does for all: it holds an advisory lock in PostgreSQL for as long as it lives.

The lock goes with the connection, so a replica that dies or is cut off loses it without anybody deciding so. Leadership
is for economy, not for safety: what two leaders would do at once is kept right by the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from webhook.ledger.database import CONNECT_SECONDS, GONE

log = structlog.get_logger()

LOCK = 0x4C454144  # "LEAD"
TRY_SECONDS = 1.0
PING_SECONDS = 2.0


async def lead(dsn: str, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``work(stop)`` whenever this replica is the leader, until ``stop`` is set.

    ``work`` gets an event that is set when leadership is lost or ``stop`` is, and returns soon after.
    """
    while not stop.is_set():
        with contextlib.suppress(*GONE):
            connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
            try:
                if await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
                    await _reign(connection, work, stop)
            finally:
                with contextlib.suppress(*GONE):
                    await connection.close(timeout=CONNECT_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TRY_SECONDS)


async def _reign(
    connection: asyncpg.Connection, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
) -> None:
    over = asyncio.Event()
    working = asyncio.ensure_future(work(over))
    log.info("leading")
    try:
        while not stop.is_set() and not working.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PING_SECONDS)
            await connection.fetchval("select 1")
    finally:
        over.set()
        await working
        log.info("not leading any more")
