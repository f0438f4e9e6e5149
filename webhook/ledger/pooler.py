"""Finds out whether a pooler in transaction mode is between Yurt and its database.

Behind one (PgBouncer, Supavisor, Neon's pooled address) each transaction may run on another connection of the server.
LISTEN then hears nothing, and the leader's advisory lock stays with a connection that other replicas are given too.
"""

from __future__ import annotations

import asyncpg

from webhook.ledger.database import connect, disconnect, ledger_errors, starting

TRANSACTION_MODE = (
    "DATABASE_URL leads through a pooler in transaction mode, which passes on neither LISTEN nor advisory locks: set "
    "DIRECT_DATABASE_URL to the database's own address beside it"
)


async def in_transaction_mode(dsn: str) -> bool:
    """Whether two connections share one of the server, as they do in transaction mode. Raises LedgerUnavailable."""
    with starting():
        first, second = await connect(dsn, pooled=True), None
    try:
        with ledger_errors():
            mine = await _server_process(first)
            if mine == first.get_server_pid():
                return False  # a pooler gives out process numbers of its own
            second = await connect(dsn, pooled=True)
            return await _shared(first, second, mine)
    finally:
        for connection in (first, second):
            if connection is not None:
                await disconnect(connection)


async def _shared(first: asyncpg.Connection, second: asyncpg.Connection, mine: int) -> bool:
    """Occupy the connection that the first one was given last, and look where the first one is then."""
    async with second.transaction():
        if await _server_process(second) == mine:
            return True
        return await _server_process(first) != mine


async def _server_process(connection: asyncpg.Connection) -> int:
    # A transaction, since outside of one each message of a statement with a result may go to another server.
    async with connection.transaction():
        number: int = await connection.fetchval("select pg_backend_pid()")
    return number
