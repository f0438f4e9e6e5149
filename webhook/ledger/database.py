"""Connects to PostgreSQL, runs transactions with retries, and turns a lost connection into LedgerUnavailable."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

Answer = TypeVar("Answer")
if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

CONNECT_SECONDS = 3.0
STATEMENT_SECONDS = 8.0
"""Timeout of one statement."""

CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors of a transaction that lost against another one: the same transaction succeeds when it is run again."""
_CONFLICTS_IN_A_ROW = 4
_CONFLICT_SECONDS = 0.05

GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.InternalClientError,
    TimeoutError,
)
"""Errors that mean that PostgreSQL cannot be reached or does not answer now."""


class LedgerUnavailable(Exception):
    """The database does not answer. A transaction may or may not have been committed: the caller repeats it."""


class Database:
    """Connection pool. Every call raises LedgerUnavailable while PostgreSQL cannot be reached."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str, *, connections: int = 10) -> Database:
        """Open the pool. Raises LedgerUnavailable, whose message holds no password."""
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=connections,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings={"application_name": "yurt"},
                reset=_nothing_to_reset,
            )
        except GONE as error:
            raise LedgerUnavailable(_message_of(error)) from error
        return cls(pool)

    async def aclose(self) -> None:
        """Close all connections; those that are still in use after some seconds are dropped."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend one connection, for statements that each are a transaction of their own."""
        try:
            # Not acquire(timeout=…), which creates a task for each call.
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._pool.acquire()
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=CONNECT_SECONDS)
        except GONE as error:
            raise LedgerUnavailable(_message_of(error)) from error

    async def transact(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Run ``work`` in one transaction and return its result; run it again after a conflict with another one."""
        for _ in range(_CONFLICTS_IN_A_ROW):
            try:
                return await self._transact_once(work)
            except CONFLICTS:
                await asyncio.sleep(random.uniform(0, _CONFLICT_SECONDS))  # noqa: S311 - no secret
        return await self._transact_once(work)

    async def _transact_once(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        async with self.connection() as connection, connection.transaction():
            return await work(connection)


async def _nothing_to_reset(_connection: object) -> None:
    """Skip asyncpg's reset query: no statement changes the session beyond its transaction, and it is a round trip."""


def _message_of(error: BaseException) -> str:
    return f"the database does not answer: {str(error) or type(error).__name__}"
