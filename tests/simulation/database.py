"""The simulated database: transactions over ``statements``, which can fail before or after their commit.

The real ``Ledger`` runs on it. A transaction is one step, so no other process runs between its statements: PostgreSQL
locks the rows to the same effect.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast

from tests.simulation.process import SimulatedProcess
from tests.simulation.rows import SimulatedRow
from tests.simulation.statements import Tables
from webhook.ledger.database import Database, LedgerUnavailable
from webhook.ledger.queries import QUERIES

T = TypeVar("T")

NAMES = {text: name for name, text in QUERIES.items()}
_OUTAGE_SECONDS = 3.0
"""Time after which a client gives up a connection or a statement."""


class Engine(Protocol):
    """Executes statements: the model alone, or model and PostgreSQL."""

    def begin(self) -> None:
        """Begin a transaction."""

    def run(self, name: str, *arguments: Any) -> list[SimulatedRow]:
        """Execute one statement by its name. Returns its rows."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""

    def empty(self) -> None:
        """Empty all tables. The sequence of tokens goes on: in a new ledger it starts at the time of day."""


class Model:
    """Executes statements on dicts and passes each to an observer."""

    def __init__(self, tables: Tables, look: Callable[[str, tuple[Any, ...], list[SimulatedRow]], None]) -> None:
        self.tables = tables
        self._look = look

    def begin(self) -> None:
        pass

    def run(self, name: str, *arguments: Any) -> list[SimulatedRow]:
        rows = self.tables.run(name, *arguments)
        self._look(name, arguments, rows)
        return rows

    def commit(self) -> None:
        pass

    def empty(self) -> None:
        self.tables.empty()


class Statements:
    """The methods of asyncpg's connection that the ledger uses. None of them suspends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def fetch(self, query: str, *arguments: Any) -> list[SimulatedRow]:
        return self._engine.run(NAMES[query], *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> SimulatedRow | None:
        rows = self._engine.run(NAMES[query], *arguments)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        rows = self._engine.run(NAMES[query], *arguments)
        return rows[0][0] if rows else None

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        self._engine.run(NAMES[query], *arguments)
        return ""


class SimulatedDatabase(Database):
    """Database connections of one process."""

    def __init__(self, process: SimulatedProcess, engine: Engine) -> None:
        self._process = process
        self._engine = engine
        self._statements = Statements(engine)
        self.committed: Callable[[], None] = lambda: None
        """Called at each commit, in the same step."""

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Connection on which each statement is a transaction of its own."""
        yield _Single(self)

    async def transact(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run a transaction."""
        return await self._perform(lambda: cast("Coroutine[Any, Any, T]", work(self._statements)))

    async def perform(self, method: str, query: str, *arguments: Any) -> Any:
        """Run one statement as a transaction of its own."""
        return await self._perform(lambda: getattr(self._statements, method)(query, *arguments))

    async def _perform(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        process, rate = self._process, self._process.world.settings.database_fault
        draws = process.world.draws
        if draws.fault(f"{process.name}/database-down", rate):
            process.world.counts["database faults"] += 1
            await process.step(lambda: None)
            raise LedgerUnavailable("the database is restarting")
        lost = draws.fault(f"{process.name}/database-answer-lost", rate)
        value = await process.step(lambda: self._transaction(work()))
        if lost:
            process.world.counts["lost answers"] += 1
            await process.wait(_OUTAGE_SECONDS)
            raise LedgerUnavailable("the connection was lost after the commit")
        return value

    def _transaction(self, work: Coroutine[Any, Any, T]) -> T:
        self._engine.begin()
        value = run_at_once(work)
        self._engine.commit()
        self.committed()
        return value


class _Single:
    def __init__(self, database: SimulatedDatabase) -> None:
        self._database = database

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(query: str, *arguments: Any) -> Any:
            return await self._database.perform(method, query, *arguments)

        return call


def run_at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends. Returns its result."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise AssertionError("a transaction waited for something other than its statements")
