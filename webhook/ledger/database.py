"""Connects to PostgreSQL, runs transactions with retries, and tells what may pass from what a person has to mend.

Every error of the connection or of the server becomes one of two: `LedgerUnavailable`, which the same call outlives by
itself once the database is well again, whatever happened to it meanwhile; and `LedgerUnusable`, where only a restart of
Yurt, or another setting, helps. An error of a statement itself (a value that does not fit, say) stays as it is: a bug.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import structlog

from webhook.ledger import dsn as urls

Answer = TypeVar("Answer")
if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

log = structlog.get_logger()

CONNECT_SECONDS = urls.DEFAULT_CONNECT_SECONDS
STATEMENT_SECONDS = 8.0
"""Timeout of one statement."""

_CONFLICTS_IN_A_ROW = 4
_CONFLICT_SECONDS = 0.05

_SETTLED_SECONDS = 5.0
"""An outage has ended once no call has failed for so long: a read-only database fails some calls and answers others."""
_RENEW_SECONDS = 1.0
"""Between two renewals of all connections."""
_HELD_SECONDS = 60
"""A transaction whose client has vanished is ended by the server after so long, and lets go of its rows."""

_CONFLICT = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: the same transaction succeeds when it is run again."""
_READ_ONLY = "25006"
_WITHOUT_SCHEMA = frozenset({"42P01", "42703", "42704", "42883", "3F000"})
"""Undefined table, column, object, function, schema: the ledger's schema is made at Yurt's start."""
_MAY_PASS = ("08", "25P03", "25P04", "28", "3D000", "40", "42501", "53", "55", "57", "58", "72", "F0", "XX", "0P", "26",
             "42P05", _READ_ONLY)  # fmt: skip
"""SQLSTATE, or how it begins: of the connection, the user's rights, the server's resources, its operator, its disk.
Source: "PostgreSQL Error Codes", appendix A of its documentation."""
_AT_START = ("28", "3D000", "42501", "0A000", *_WITHOUT_SCHEMA)
"""At the start these are settings that are wrong; later, what a person changed and can change back."""
_OF_SESSION = (_READ_ONLY, "0A000", "26", "42P05", "XX", "25P0")
"""Errors that may stick to a session: of a server that is a replica since a failover, of a plan of an older schema."""


class LedgerUnavailable(Exception):
    """The database does not answer. A transaction may or may not have been committed: the caller repeats it."""


class LedgerConflict(LedgerUnavailable):
    """The transaction lost against another one."""


class LedgerUnusable(Exception):
    """The database cannot be used until a person acts. The message is one line, and holds no password."""


@contextlib.contextmanager
def ledger_errors() -> Iterator[None]:
    """Turn errors of asyncpg and of the network into LedgerUnavailable, LedgerConflict or LedgerUnusable."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if translated := _of_server(error):
            raise translated from error
        raise
    except (asyncpg.ClientConfigurationError, asyncpg.UnsupportedClientFeatureError) as error:
        raise LedgerUnusable(f"the database cannot be connected to: {_line(error)}") from error
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:  # TimeoutError is an OSError
        raise LedgerUnavailable(f"the database does not answer: {_line(error)}") from error


def _of_server(error: asyncpg.PostgresError) -> Exception | None:
    """What an error of the server means for the ledger. None: the statement itself is wrong."""
    state = error.sqlstate or "XX000"
    if state in _CONFLICT:
        return LedgerConflict(f"the transaction lost against another one: {_line(error)}")
    if state in _WITHOUT_SCHEMA:
        return LedgerUnusable(f"the ledger's schema is not there: {_line(error)}. A restart of Yurt makes it anew")
    if state == _READ_ONLY:
        return LedgerUnavailable(f"the database takes no writes: {_line(error)}")
    if state.startswith(("08", "57P")):
        return LedgerUnavailable(f"the database does not answer: {_line(error)}")
    if state.startswith(_MAY_PASS) or isinstance(error, asyncpg.InvalidCachedStatementError):
        return LedgerUnavailable(f"the database refuses: {_line(error)}")
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Turn what is a wrong setting at the start, and would be an outage later, into LedgerUnusable."""
    try:
        yield
    except (LedgerUnavailable, LedgerUnusable, asyncpg.PostgresError) as error:
        cause = error if isinstance(error, asyncpg.PostgresError) else error.__cause__
        if isinstance(cause, asyncpg.PostgresError) and (cause.sqlstate or "").startswith(_AT_START):
            raise LedgerUnusable(f"the database cannot be used: {_line(cause)}") from error
        raise


async def connect(
    dsn: str, *, statement_seconds: float = STATEMENT_SECONDS, pooled: bool = False
) -> asyncpg.Connection:
    """Make one connection, beside those of the pool. Raises LedgerUnavailable, LedgerUnusable."""
    address = _parsed(dsn)
    with ledger_errors():
        return await asyncpg.connect(
            **address.options,
            timeout=address.connect_seconds,
            command_timeout=statement_seconds,
            statement_cache_size=0 if pooled else 100,
        )


async def disconnect(connection: asyncpg.Connection) -> None:
    """Close a connection that may be lost already."""
    with contextlib.suppress(LedgerUnavailable), ledger_errors():
        await connection.close(timeout=CONNECT_SECONDS)


def _parsed(dsn: str) -> urls.Dsn:
    try:
        return urls.parse(dsn)
    except urls.DsnError as error:
        raise LedgerUnusable(str(error)) from None


class Outage:
    """Whether calls of the database fail now, and since when. Logs one line when that begins, and one when it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_at: float | None = None
        self._failed_at = 0.0
        self.error = ""
        """Of the last call that failed."""

    def failed(self, error: LedgerUnavailable) -> None:
        """Note a call that failed."""
        self._failed_at, self.error = self._clock(), str(error)
        if self._began_at is None:
            self._began_at = self._failed_at
            log.error("database unavailable", error=self.error, hint="everything waits for it, and nothing is lost")

    def answered(self) -> None:
        """Note a call that did not fail."""
        if self._began_at is not None and self._clock() - self._failed_at > _SETTLED_SECONDS:
            log.info("database available again", seconds=round(self._failed_at - self._began_at, 1))
            self._began_at = None

    @property
    def seconds(self) -> float:
        """For how long calls have been failing; 0: they do not."""
        return 0.0 if self._began_at is None else self._failed_at - self._began_at

    @property
    def going_on(self) -> bool:
        """Whether a call has failed, and not all of them succeed again."""
        return self._began_at is not None


class Database:
    """Connection pool. Every call raises LedgerUnavailable while PostgreSQL cannot be reached or does not write.

    ``pooled``: a pooler in transaction mode is between, so that each statement needs a transaction, and none may be
    prepared for later.
    """

    def __init__(self, pool: asyncpg.Pool, *, connect_seconds: float = CONNECT_SECONDS, pooled: bool = False) -> None:
        self._pool = pool
        self._connect_seconds = connect_seconds
        self._pooled = pooled
        self._renewed_at = 0.0
        self.outage = Outage()
        """Whether calls fail now."""

    @classmethod
    async def connect(cls, dsn: str, *, connections: int = 10, pooled: bool = False) -> Database:
        """Open the pool. Raises LedgerUnavailable, LedgerUnusable, whose messages hold no password."""
        address = _parsed(dsn)
        with ledger_errors():
            pool = await asyncpg.create_pool(
                **address.options,
                min_size=1,
                max_size=connections,
                timeout=address.connect_seconds,
                command_timeout=STATEMENT_SECONDS,
                statement_cache_size=0 if pooled else 100,
                init=None if pooled else _limit_idle_transactions,
                reset=_nothing_to_reset,
            )
        return cls(pool, connect_seconds=address.connect_seconds, pooled=pooled)

    async def aclose(self) -> None:
        """Close all connections; those that are still in use after some seconds are dropped."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend one connection, for statements that each are a transaction of their own."""
        # Behind a pooler, outside of a transaction, each message may go to another server.
        async with self._noted(), self._lent(self._pooled) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _noted(self) -> AsyncIterator[None]:
        """Turn errors into the ledger's own, and note whether the database answers."""
        try:
            with ledger_errors():
                yield
        except LedgerConflict:
            raise
        except LedgerUnavailable as error:
            self.outage.failed(error)
            raise
        self.outage.answered()

    @contextlib.asynccontextmanager
    async def _lent(self, in_transaction: bool) -> AsyncIterator[Connection]:
        # Not acquire(timeout=…), which creates a task for each call.
        async with asyncio.timeout(max(CONNECT_SECONDS, self._connect_seconds)):
            connection = await self._pool.acquire()
        try:
            if in_transaction:
                async with connection.transaction():
                    yield connection
            else:
                yield connection
        except (asyncpg.PostgresError, asyncpg.InternalClientError, TimeoutError) as error:
            await self._renew(error)
            raise
        finally:
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    async def transact(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Run ``work`` in one transaction and return its result; run it again after a conflict with another one."""
        for _ in range(_CONFLICTS_IN_A_ROW):
            try:
                return await self._transact_once(work)
            except LedgerConflict:
                await asyncio.sleep(random.uniform(0, _CONFLICT_SECONDS))  # noqa: S311 - no secret
        return await self._transact_once(work)

    async def _transact_once(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        async with self._noted(), self._lent(True) as connection:
            return await work(connection)

    async def _renew(self, error: Exception) -> None:
        """Replace all connections after an error that may be of the server that they lead to, or of their sessions.

        After a failover they would lead to a replica for ever; where one connection hangs, the others do too.
        """
        sticks = not isinstance(error, asyncpg.PostgresError) or (error.sqlstate or "").startswith(_OF_SESSION)
        if sticks and time.monotonic() - self._renewed_at > _RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            await self._pool.expire_connections()


async def _limit_idle_transactions(connection: asyncpg.Connection) -> None:
    # Not among the startup parameters, of which poolers in session mode refuse most.
    await connection.execute(f"set idle_in_transaction_session_timeout = '{_HELD_SECONDS}s'")


async def _nothing_to_reset(_connection: object) -> None:
    """Skip asyncpg's reset query: no statement changes the session beyond its transaction, and it is a round trip."""
