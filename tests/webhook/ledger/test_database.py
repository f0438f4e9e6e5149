from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from tests import postgres
from tests.postgres import OpenPostgres
from tests.webhook.ledger.ledger_bench import POLICY, bench, event
from webhook.ledger.coalescing import Verdict
from webhook.ledger.database import CONNECT_SECONDS, Database, LedgerUnavailable
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.ledger.migrations import migrate
from webhook.ledger.postgres import PostgresServer

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

QUICKLY_SECONDS = 2 * CONNECT_SECONDS


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="yurt-test-") as name:
        server = OpenPostgres(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


async def one(connection: Connection) -> int:
    value: int = await connection.fetchval("select 1")
    return value


async def test_a_database_that_is_killed_is_unavailable_and_comes_back_by_itself(server: PostgresServer) -> None:
    database = await Database.connect(server.dsn, connections=3)
    connection = await asyncpg.connect(server.dsn)
    await migrate(connection)
    await connection.close()
    ledger = Ledger(database, {1: POLICY})
    number = await _pipeline(database)
    said = [ReceivedEvents([(number, event(str(n)))]) for n in range(3)]
    assert (await ledger.record(said))[0] == {Verdict.ACCEPTED: 1, Verdict.IGNORED: 0, Verdict.QUARANTINED: 0}
    for _ in range(2):
        sleeping = [asyncio.create_task(database.transact(_sleep)) for _ in range(2)]
        await _sleepers(server.dsn, 2)
        server.kill()
        async with asyncio.timeout(QUICKLY_SECONDS):
            for task in sleeping:
                with pytest.raises(LedgerUnavailable):
                    await task
            for _ in range(4):
                with pytest.raises(LedgerUnavailable, match="does not answer"):
                    await ledger.record(said)
        server.start()
        [answer, *_] = await ledger.record(said)
        assert answer[Verdict.DUPLICATE] == 1
    await database.aclose()


async def _pipeline(database: Database) -> int:
    async with database.connection() as connection:
        number: int = await connection.fetchval("insert into pipelines (name, bucket) values ('a', 'b') returning id")
    return number


async def _sleep(connection: Connection) -> None:
    await connection.execute("select pg_sleep(60) /* asleep */")


async def _sleepers(dsn: str, wanted: int) -> None:
    """Wait until so many transactions are under way."""
    connection = await asyncpg.connect(dsn)
    async with asyncio.timeout(30):
        while (
            await connection.fetchval(
                "select count(*) from pg_stat_activity where query like '%asleep%' and pid <> pg_backend_pid()"
            )
            < wanted
        ):
            await asyncio.sleep(0.01)
    await connection.close()


async def test_no_database_is_unavailable_and_the_message_holds_no_password() -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        await Database.connect("postgresql://yurt:hunter2@127.0.0.1:1/yurt")
    assert "hunter2" not in str(caught.value)


async def test_all_connections_in_use_is_unavailable_not_for_ever(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.ledger.database.CONNECT_SECONDS", 0.05)
    async with bench(postgres_dsn) as b, contextlib.AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(b.database.connection())
        with pytest.raises(LedgerUnavailable):
            await b.database.transact(one)
        await stack.aclose()
        assert await b.database.transact(one) == 1


async def test_an_argument_that_does_not_fit_is_our_mistake_and_not_the_databases(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        with pytest.raises(asyncpg.DataError, match="invalid input for query argument"):
            await b.sql("select $1::smallint", 10**9)
        with pytest.raises(asyncpg.CharacterNotInRepertoireError):
            await b.sql("select $1::text", "\0")
        assert await b.sql("select 1") == 1


async def test_a_transaction_that_lost_against_another_is_done_again(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        await b.record(event("a"), event("b"))
        first_has, second_has = asyncio.Event(), asyncio.Event()
        tries = 0

        async def lock(connection: Connection, mine: str, other: str, have: asyncio.Event, wait: asyncio.Event) -> str:
            nonlocal tries
            tries += 1
            await connection.execute("select from objects where key = $1 for update", mine)
            have.set()
            await wait.wait()
            await connection.execute("select from objects where key = $1 for update", other)
            return mine

        async with asyncio.timeout(60):
            answers = await asyncio.gather(
                b.database.transact(lambda c: lock(c, "a", "b", first_has, second_has)),
                b.database.transact(lambda c: lock(c, "b", "a", second_has, first_has)),
            )
        assert list(answers) == ["a", "b"]
        assert tries == 3


async def test_what_raises_is_undone_and_leaves_the_connection_usable(postgres_dsn: str) -> None:
    async def write_and_raise(connection: Connection) -> None:
        await connection.execute("insert into pipelines (name, bucket) values ('half', 'done')")
        raise RuntimeError("on the way")

    async with bench(postgres_dsn) as b:
        for _ in range(10):
            with pytest.raises(RuntimeError):
                await b.database.transact(write_and_raise)
        assert await b.sql("select count(*) from pipelines where name = 'half'") == 0


async def test_who_gives_up_waiting_leaves_the_connection_usable(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        for _ in range(3):
            task = asyncio.create_task(b.database.transact(_sleep))
            await _sleepers(b.dsn, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await b.sql("select 1") == 1


class Severed:
    """Between us and the server: lets everything through until told to swallow the answer to the next COMMIT."""

    def __init__(self, dsn: str, folder: Path) -> None:
        query = parse_qs(urlsplit(dsn).query)
        self._server = f"{query['host'][0]}/.s.PGSQL.5432"
        self._mine = folder / ".s.PGSQL.5432"
        self.dsn = f"postgresql:///{urlsplit(dsn).path[1:]}?host={quote(str(folder))}&user=postgres"
        self.swallow = False
        self.swallowed = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self._mine):
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_unix_connection(self._server)
        committing = asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(65_536):
                if self.swallow and b"COMMIT;" in data:
                    committing.set()
                down.write(data)
                await down.drain()
            down.close()

        async def answer() -> None:
            while data := await up.read(65_536):
                if committing.is_set():
                    self.swallowed += 1
                    break
                writer.write(data)
                await writer.drain()
            writer.close()
            down.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(ask(), answer())


async def test_what_raised_may_have_been_done_and_repeating_it_is_safe(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        with tempfile.TemporaryDirectory(prefix="yurt-test-") as name:
            severed = Severed(b.dsn, Path(name))
            async with severed.listening():
                database = await Database.connect(severed.dsn, connections=2)
                ledger = b.replica(database)
                said = [ReceivedEvents([(b.photos, event())])]
                severed.swallow = True
                with pytest.raises(LedgerUnavailable):
                    await ledger.record(said)
                assert severed.swallowed == 1
                assert await b.state() == ("pending", "work"), "it was done"
                severed.swallow = False
                [answer] = await ledger.record(said)
                assert answer[Verdict.DUPLICATE] == 1
                await database.aclose()
        assert await b.counted() == {"received": 2, "accepted": 1, "duplicate": 1}


async def test_a_test_database_is_empty_and_migrated(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (connected, dsn):
        assert await connected.transact(one) == 1
        assert "yurt_" in dsn
