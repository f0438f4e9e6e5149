"""Runs every statement on the model and on PostgreSQL, and raises where answers or rows differ.

The simulated time does not pass meanwhile; it is written into the ledger's table ``clock``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from tests import postgres as servers
from tests.simulation.database import Engine, Model
from tests.simulation.rows import COLUMNS, EPOCH, MOMENTS, Object, SimulatedRow, moment
from tests.simulation.statements import FIRST_TOKEN
from webhook.ledger.queries import QUERIES

T = TypeVar("T")

_ANSWER_SECONDS = 30.0
_SILENT = frozenset({"count", "settle"})
"""Statements whose answers are not compared: they only send a notification."""
_UNORDERED = {"dropped": "key", "lock_expired": "id", "outputs_known": "key"}
"""Statements whose rows come in any order, and the column to sort them by."""
_DOCUMENTS = frozenset({"published", "error"})

_TABLES = ("sweeps", "objects", "workers", "quarantine", "tally", "clock", "pipelines")
_FRESH = f"""
    delete from {"; delete from ".join(_TABLES)};
    alter table objects alter column id restart with 1;
    alter table sweeps alter column id restart with 1;
    insert into pipelines (id, name, bucket) overriding system value values (1, 'photos', 'photos-in');
    select setval('lease_tokens', {FIRST_TOKEN});
"""
_WORKERS = """
    insert into workers (id, pool, provider, label, state, slots, once_hash) overriding system value
    select n, 'local', 'test', 'worker-' || n, 'ready', 1, n::text::bytea from generate_series(1, $1::int) as n
"""


class Differs(AssertionError):
    """The model and PostgreSQL disagree, so that the simulation proves nothing."""


class ConformancePostgres:
    """A connection to PostgreSQL with blocking methods, for use inside the virtual loop."""

    def __init__(self, dsn: str) -> None:
        # A loop in a thread: the simulation's own loop has virtual time and no sockets.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection[asyncpg.Record] = self._wait(asyncpg.connect(dsn))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)

    def execute(self, statement: str, *arguments: Any) -> None:
        """Execute a statement."""
        self._wait(self._connection.execute(statement, *arguments))

    def fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        """Execute a query. Returns its rows."""
        return [dict(row) for row in self._wait(self._connection.fetch(statement, *arguments))]

    def empty(self, workers: int) -> None:
        """Empty all tables and insert workers."""
        self.execute(_FRESH)
        self.execute("insert into clock values ($1)", EPOCH)
        self.execute("update clock_reading set latest = $1", EPOCH)
        self.execute(_WORKERS, workers)

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._wait(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS)
        self._loop.close()


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[ConformancePostgres]:
    """A connection to a migrated database."""
    postgres = ConformancePostgres(dsn)
    try:
        yield postgres
    finally:
        postgres.close()


@contextlib.contextmanager
def own_database(dsn: str) -> Iterator[ConformancePostgres]:
    """A connection to a new, migrated database on a server."""
    with asyncio.Runner() as runner:
        made = servers.database(dsn)
        _, own = runner.run(made.__aenter__())
        try:
            with connected(own) as postgres:
                yield postgres
        finally:
            runner.run(made.__aexit__(None, None, None))


class Mirror(Engine):
    """Runs each statement on both and compares the answers; at each commit compares all rows."""

    def __init__(self, model: Model, postgres: ConformancePostgres) -> None:
        self._model = model
        self._postgres = postgres
        self._names: list[str] = []
        self.statements = 0
        postgres.empty(max(model.tables.ready, default=0))

    def begin(self) -> None:
        self._names = []
        self._postgres.execute("begin")
        tables = self._model.tables
        self._postgres.execute("update clock set stopped_at = $1", moment(tables.clock()))
        # A clock that is set back had just been read.
        self._postgres.execute("update clock_reading set latest = $1", moment(tables.latest_reading))

    def empty(self) -> None:
        self._model.empty()
        self._postgres.empty(max(self._model.tables.ready, default=0))
        self._postgres.execute("select setval('lease_tokens', $1)", self._model.tables.last_token)

    def run(self, name: str, *arguments: Any) -> list[SimulatedRow]:
        self.statements += 1
        self._names.append(name)
        theirs = self._postgres.fetch(QUERIES[name], *arguments)
        # PostgreSQL runs first: where it may choose among rows, the model takes its choice.
        if name == "claim":
            self._model.tables.chosen = [(row["id"], row["token"]) for row in theirs]
        ours = self._model.run(name, *arguments)
        if name not in _SILENT:
            self._compare(name, arguments, _ordered(name, ours), _ordered(name, theirs))
        return ours

    def commit(self) -> None:
        self._postgres.execute("commit")
        tables = self._model.tables
        after = " → ".join(self._names)
        theirs = self._postgres.fetch("select * from objects order by id")
        ours = [_columns(row) for row in sorted(tables.objects.values(), key=lambda row: row.id)]
        self._compare(f"objects after {after}", (), ours, theirs)
        counted = self._postgres.fetch(
            "select pipeline_id, name, sum(value)::bigint as value from tally group by 1, 2 order by 1, 2"
        )
        tally = [SimulatedRow(pipeline_id=p, name=n, value=v) for (p, n), v in sorted(tables.tally.items())]
        self._compare(f"counters after {after}", (), tally, counted)
        [balance] = self._postgres.fetch(QUERIES["balance"])
        self._compare(f"balance after {after}", (), [dict(row) for row in tables.run("balance")], [balance])

    def _compare(self, what: str, arguments: tuple[Any, ...], ours: list[Any], theirs: list[dict[str, Any]]) -> None:
        ours, theirs = [_comparable(row) for row in ours], [_comparable(row) for row in theirs]
        if ours != theirs:
            pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
            columns = [
                f"{name}: model {a.get(name)!r}, PostgreSQL {b.get(name)!r}"
                for a, b in pairs[:1]
                for name in {*a, *b}
                if a.get(name, "-") != b.get(name, "-")
            ]
            differences = "; ".join(columns) or f"{len(ours)} rows of the model, {len(theirs)} of PostgreSQL"
            raise Differs(f"{what}{arguments or ''}: {differences}")


def _ordered(name: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by = _UNORDERED.get(name)
    differences = [dict(row) for row in rows]
    return sorted(differences, key=lambda row: row[by]) if by else differences


def _columns(row: Object) -> dict[str, Any]:
    return {name: moment(getattr(row, name)) if name in MOMENTS else getattr(row, name) for name in COLUMNS}


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(name, value) for name, value in row.items()}


def _plain(name: str, value: Any) -> Any:
    if name in _DOCUMENTS and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    if isinstance(value, datetime):
        return value.astimezone(EPOCH.tzinfo)
    return value
