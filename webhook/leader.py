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

from webhook.ledger.database import CONNECT_SECONDS, LedgerUnavailable, connect, disconnect, ledger_errors
from webhook.loops import STALLED_SECONDS, LoopHealth

log = structlog.get_logger()

LOCK = 0x4C454144  # "LEAD"
TRY_SECONDS = 1.0
PING_SECONDS = 2.0
_SILENT_SECONDS = 30
"""PostgreSQL ends the leader's session, and with it the lock, after so long without a ping."""
ELECTION, WORK = "leader election", "leader"
"""Names of the loops."""


async def lead(
    dsn: str, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event, health: LoopHealth | None = None
) -> None:
    """Run ``work(over)`` whenever this replica is the leader, until ``stop`` is set.

    ``over`` is set when leadership is lost or ``stop`` is; ``work`` has to return soon after. An error that may pass,
    of the database or of the work, ends this term; the next election follows.
    """
    health = health or LoopHealth()
    while not stop.is_set():
        connection: asyncpg.Connection | None = None
        with health.turn(ELECTION, STALLED_SECONDS):
            connection = await _elected(dsn)
        if connection is not None:
            # Not within the turn of the election: an error of the work is no lost connection.
            await _term(connection, work, stop, health)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRY_SECONDS):
                await stop.wait()


async def _elected(dsn: str) -> asyncpg.Connection | None:
    """The connection that holds the lock; None: another replica has it. Raises LedgerUnavailable."""
    connection = await connect(dsn, statement_seconds=CONNECT_SECONDS)
    held = False
    try:
        with ledger_errors():
            # A leader that is cut off or suspended would hold the lock until TCP gives its connection up: for hours.
            await connection.execute(f"set idle_session_timeout = '{_SILENT_SECONDS}s'")
            await _ping(connection)
            held = await connection.fetchval("select pg_try_advisory_lock($1)", LOCK)
    finally:
        if not held:
            await disconnect(connection)
    return connection if held else None


async def _term(
    connection: asyncpg.Connection,
    work: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
    health: LoopHealth,
) -> None:
    """Run ``work`` while the connection that holds the lock lives."""
    over = asyncio.Event()
    working = asyncio.ensure_future(_worked(work, over, health))
    log.info("leading")
    try:
        with health.turn(ELECTION), ledger_errors():
            await _hold(connection, working, stop, health)
    finally:
        over.set()
        await working
        log.info("not leading any more")
        await disconnect(connection)


async def _worked(work: Callable[[asyncio.Event], Awaitable[None]], over: asyncio.Event, health: LoopHealth) -> None:
    with health.turn(WORK):
        await work(over)


async def _hold(
    connection: asyncpg.Connection, working: asyncio.Future[None], stop: asyncio.Event, health: LoopHealth
) -> None:
    while not stop.is_set() and not working.done():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_SECONDS):
                await stop.wait()
        await _ping(connection)  # a lost connection has lost the lock: notice it soon
        health.works(ELECTION)
        health.works(WORK)


async def _ping(connection: asyncpg.Connection) -> None:
    """Raises where the connection is lost, and where its server has become a replica of another one."""
    if await connection.fetchval("select pg_is_in_recovery()"):
        raise LedgerUnavailable("the database takes no writes: its server is a replica")
