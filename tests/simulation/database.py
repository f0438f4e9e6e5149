"""The ledger's database as the simulation has it: transactions over ``statements``, that can fail before or after.

The real ``Ledger`` runs on it. A transaction is one step: nothing else happens between its statements, as nothing that
matters does between those of PostgreSQL, which locks the rows.
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
"""What a connection or a statement takes to be given up."""


class Engine(Protocol):
    """What runs statements."""

    def begin(self) -> None:
        """A transaction begins."""

    def run(self, name: str, *arguments: Any) -> list[SimulatedRow]:
        """What one statement answers."""
        ...

    def commit(self) -> None:
        """It ends."""

    def empty(self) -> None:
        """Lose everything, but for the sequence of tokens, which starts at the time of day in a new ledger."""


class Model:
    """Statements on dicts, and somebody who looks at each."""

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
    """The methods of asyncpg's connection that the ledger uses. None of them ever waits."""

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

    async def execute(self, query: str, *arguments: Any) -> str:
        self._engine.run(NAMES[query], *arguments)
        return ""


class SimulatedDatabase(Database):
    """One process's connections."""

    def __init__(self, process: SimulatedProcess, engine: Engine) -> None:
        self._process = process
        self._engine = engine
        self._statements = Statements(engine)
        self.committed: Callable[[], None] = lambda: None
        """Called with each transaction, as one with its commit."""

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """One statement."""
        yield _Single(self)

    async def transact(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """One transaction."""
        return await self._perform(lambda: cast("Coroutine[Any, Any, T]", work(self._statements)))

    async def perform(self, method: str, query: str, *arguments: Any) -> Any:
        """One statement by itself."""
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
        value = finished(work)
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


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise AssertionError("a transaction waited for something else than its statements")
