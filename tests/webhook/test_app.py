"""A database that dies while a control plane starts is one to be waited for, whenever it dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from tests import postgres
from tests.chaos.proxy import Cut, Proxy
from tests.polling import until
from tests.webhook.plane import configured, control_plane, event, serving
from webhook.app import prepare
from webhook.ledger.database import LedgerUnavailable, LedgerUnusable

SOCKET = ".s.PGSQL.5432"
MANY = 200
"""More answers than a start takes."""


async def test_a_connection_lost_at_any_answer_is_a_ledger_that_is_away(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, own):
        there = Path(parse_qs(urlsplit(own).query)["host"][0]) / SOCKET
        with TemporaryDirectory(prefix="yurt-") as folder:
            proxy = Proxy("database", lambda: [there])
            await proxy.listen(Path(folder, SOCKET))
            name = urlsplit(own).path.removeprefix("/")
            cut_off = 0
            try:
                for answers in range(MANY):
                    cut = Cut("answer", 0.5, after=answers)
                    proxy.arm(cut)
                    try:
                        await prepare(f"postgresql:///{name}?host={quote(folder)}&user=postgres")
                    except LedgerUnavailable:
                        cut_off += 1
                    if not cut.happened.is_set():
                        break
            finally:
                await proxy.aclose()
            assert cut_off > 3
            assert not cut.happened.is_set(), "it never came through"


async def test_a_database_that_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await prepare(f"postgresql:///none?host={quote(str(tmp_path))}&user=postgres")


CUT_OFF = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"


@contextlib.asynccontextmanager
async def administrator(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def owned_by(dsn: str, role: str) -> AsyncIterator[None]:
    """Make a user that is no superuser, with all rights that a control plane needs."""
    async with administrator(dsn) as connection:
        await connection.execute(f"create role {role} login; grant all on schema public to {role}")
        await connection.execute(f"grant all on all tables in schema public to {role}")
        await connection.execute(f"grant all on all sequences in schema public to {role}")
    try:
        yield
    finally:
        async with administrator(dsn) as connection:
            await connection.execute(f"drop owned by {role}; drop role {role}")


FAULTS = {
    "read-only": (["alter database {name} set default_transaction_read_only = on", CUT_OFF],
                  ["alter database {name} reset default_transaction_read_only"]),
    "renamed": (["alter database {name} allow_connections off", CUT_OFF, "alter database {name} rename to {name}_away"],
                ["alter database {name}_away rename to {name}", "alter database {name} allow_connections on"]),
    "too many connections": (["alter role {role} connection limit 0", CUT_OFF],
                             ["alter role {role} connection limit -1"]),
    "role without login": (["alter role {role} nologin", CUT_OFF], ["alter role {role} login"]),
}  # fmt: skip
"""What happens to the database while a control plane runs, and how it is undone, as an administrator's statements."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_plane_outlives_what_happens_to_its_database_and_recovers(postgres_dsn: str, fault: str) -> None:
    async with postgres.database(postgres_dsn) as (_, dsn), administrator(postgres_dsn) as admin:
        name = urlsplit(dsn).path.removeprefix("/")
        role = f"{name}_user"
        async with owned_by(dsn, role), serving(dsn.replace("user=postgres", f"user={role}"), configured()) as plane:
            await until(plane.ready)
            assert await plane.notify(event("before.jpg")) == {"accepted": 1}
            for statement in FAULTS[fault][0]:
                await admin.execute(statement.format(name=name, role=role))

            async def refused() -> bool:
                response = await plane.http.get("/readyz")
                return response.status_code == 503 and "retry-after" in response.headers

            async def refuses_events() -> bool:
                return (await plane.post_events(event("meanwhile.jpg"))).status_code == 503

            await until(refuses_events)
            await until(refused)
            for statement in FAULTS[fault][1]:
                await admin.execute(statement.format(name=name, role=role))

            async def accepts() -> bool:
                return (await plane.post_events(event("after.jpg"))).status_code == 200

            await until(accepts)
            await until(plane.ready)
            keys = {row["key"] for row in await plane.sql("select key from objects")}
            assert {"before.jpg", "after.jpg"} <= keys


async def test_a_plane_whose_schema_is_dropped_ends_with_one_line(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.sql("drop table objects cascade")
        with pytest.raises(LedgerUnusable, match="schema is not there") as ended:
            await plane.plane.run("http://127.0.0.1:9", asyncio.Event())
        assert "\n" not in str(ended.value)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("alter role {role} nologin", "not permitted to log in"),
        ("revoke create on schema public from {role}", "may not create tables"),
        ("alter database {name} rename to {name}_away", "does not exist"),
    ],
)
async def test_at_the_start_what_is_wrong_is_one_line(postgres_dsn: str, statement: str, word: str) -> None:
    async with postgres.database(postgres_dsn) as (database, dsn), administrator(postgres_dsn) as admin:
        name = urlsplit(dsn).path.removeprefix("/")
        async with owned_by(dsn, f"{name}_user"):
            await database.aclose()
            own = await asyncpg.connect(dsn) if "schema" in statement else admin
            await own.execute(statement.format(name=name, role=f"{name}_user"))
            if own is not admin:
                await own.close()
            try:
                with pytest.raises(LedgerUnusable, match=word):
                    await prepare(dsn.replace("user=postgres", f"user={name}_user"))
            finally:
                if "rename" in statement:
                    await admin.execute(f"alter database {name}_away rename to {name}")


async def test_the_leader_begins_to_count_what_arrives(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await until(lambda: plane.sql("select from counted_arrivals"))
