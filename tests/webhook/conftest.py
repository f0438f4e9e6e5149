"""One local bucket for all tests of the control plane, and a PostgreSQL that may be killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from tests.infra.local.running import RunningBucket, running
from tests.postgres import OpenPostgres
from webhook.ledger.postgres import PostgresServer


@pytest.fixture(scope="session", autouse=True)
def plain_log() -> None:
    """Logs as lines: tracebacks drawn in colour cost seconds of the event loop that a test waits for."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer(key_order=["event"])],
        cache_logger_on_first_use=False,
    )


@pytest.fixture
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the environment of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("YURT_", "AWS_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_dsn(postgres_dsn: str) -> str:
    """The shared server, without waiting for the disk: what is killed here are processes, never the machine.

    A database a test costs a second on a busy disk otherwise.
    """

    async def hurry() -> None:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute("alter system set fsync = off")
        await connection.execute("select pg_reload_conf()")
        await connection.close()

    asyncio.run(hurry())
    return postgres_dsn


@pytest.fixture(scope="session")
def store() -> Iterator[RunningBucket]:
    """A running local bucket, spoken to over HTTP. Each test makes S3 buckets of its own."""
    with running() as process:
        yield process


@pytest.fixture(scope="session")
def postgres_to_kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server of ``mortal``. It has to be started on this thread, and ends with it."""
    server = OpenPostgres(tmp_path_factory.mktemp("mortal"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mortal(postgres_to_kill: PostgresServer) -> PostgresServer:
    """A PostgreSQL of its own that a test may kill: one that a test before left dead is started again."""
    if postgres_to_kill.pid is None:
        postgres_to_kill.start()
    return postgres_to_kill
