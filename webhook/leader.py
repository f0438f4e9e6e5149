"""Elects one replica as the leader by an advisory lock in PostgreSQL, and runs the leader's work.

The lock ends with its connection, so a replica that dies or is cut off loses it without a decision of another replica.
Leadership is for economy, not for safety: the ledger's statements stay correct even while two replicas lead.
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
    """Run ``work(over)`` whenever this replica is the leader, until ``stop`` is set.

    ``over`` is set when leadership is lost or ``stop`` is; ``work`` has to return soon after.
    """
    while not stop.is_set():
        with contextlib.suppress(*GONE):
            connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
            try:
                if await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
                    await _hold(connection, work, stop)
            finally:
                with contextlib.suppress(*GONE):
                    await connection.close(timeout=CONNECT_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TRY_SECONDS)


async def _hold(
    connection: asyncpg.Connection, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Run ``work`` while the connection that holds the lock lives. Raises what a lost connection raises."""
    over = asyncio.Event()
    working = asyncio.ensure_future(work(over))
    log.info("leading")
    try:
        while not stop.is_set() and not working.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PING_SECONDS)
            await connection.fetchval("select 1")  # a lost connection has lost the lock: notice it soon
    finally:
        over.set()
        await working
        log.info("not leading any more")
