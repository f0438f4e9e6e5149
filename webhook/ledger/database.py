"""Connections to PostgreSQL, and what it means when there are none."""

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
"""Longest time of one statement."""

CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two transactions got into each other's way: the same one again succeeds."""
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


class LedgerUnavailable(Exception):
    """The database does not answer. What was asked may or may not have been done: ask again."""


class Database:
    """A pool of connections, every call of which raises LedgerUnavailable while PostgreSQL is not there."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str, *, connections: int = 10) -> Database:
        """Open the pool. Raises LedgerUnavailable; its message holds no password."""
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
            raise LedgerUnavailable(_said(error)) from error
        return cls(pool)

    async def aclose(self) -> None:
        """Close all connections; those that do not let themselves be closed are dropped."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection, for statements that each stand alone."""
        try:
            # Not acquire(timeout=…), which makes a task each time.
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._pool.acquire()
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=CONNECT_SECONDS)
        except GONE as error:
            raise LedgerUnavailable(_said(error)) from error

    async def transact(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """The answer of ``work``, done in one transaction; done again where it lost against another one."""
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
    """What a connection changes of its session ends with its transaction: no round trip to undo it."""


def _said(error: BaseException) -> str:
    return f"the database does not answer: {str(error) or type(error).__name__}"
