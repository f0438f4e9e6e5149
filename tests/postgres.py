"""A real PostgreSQL for tests: one server per test session, a new database per test."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

from webhook.ledger.database import Database
from webhook.ledger.migrations import migrate
from webhook.ledger.postgres import PostgresServer

_numbers = itertools.count(1)
_template = "yurt_template"


class OpenPostgres(PostgresServer):
    """A server whose superuser logs in without a password: tests make databases and roles, and change settings."""

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "data" / "pg_hba.conf").write_text("local all all trust\n")

    def start(self) -> None:
        super().start()
        [host] = parse_qs(urlsplit(self.dsn).query)["host"]
        self.dsn = f"postgresql:///postgres?host={quote(host)}&user=postgres"


class DisposablePostgres(OpenPostgres):
    """A server that waits for no disk: the machine outlives it, and its data are thrown away."""

    def prepare(self) -> None:
        super().prepare()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n")


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server with a migrated template database. Yields its DSN."""
    running = DisposablePostgres(folder)
    running.start()
    try:
        asyncio.run(_make_template(running.dsn))
        yield running.dsn
    finally:
        running.stop()


@contextlib.asynccontextmanager
async def database(dsn: str) -> AsyncIterator[tuple[Database, str]]:
    """Create a migrated, empty database. Yields a connection pool and the DSN; drops it afterwards."""
    name = f"yurt_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f'create database "{name}" template "{_template}" strategy file_copy')
        own = dsn_of(dsn, name)
        connected = await Database.connect(own, connections=6)
        try:
            yield connected, own
        finally:
            await connected.aclose()
            await admin.execute(f'drop database "{name}" with (force)')
    finally:
        await admin.close()


def dsn_of(dsn: str, name: str) -> str:
    """The DSN of another database on the same server."""
    query = parse_qs(urlsplit(dsn).query)
    return f"postgresql:///{name}?host={quote(query['host'][0])}&user={query['user'][0]}"


async def _make_template(dsn: str) -> None:
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f'create database "{_template}"')
    finally:
        await admin.close()
    connection = await asyncpg.connect(dsn_of(dsn, _template))
    try:
        await migrate(connection)
    finally:
        await connection.close()
