"""Migrates the schema: each file is applied once, in the order of its number, all missing ones in one transaction.

Replicas start at once: an advisory lock lets one of them migrate while the others wait. A ledger that is newer than
this program is refused, since an older program may misread it.
"""

from __future__ import annotations

import re
from importlib import resources

import asyncpg

from webhook.ledger.database import LedgerUnavailable, LedgerUnusable

OLDEST_POSTGRES = 14
_LOCK = 0x59555254  # "YURT"
_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class LedgerTooNew(Exception):
    """The database was migrated by a newer Yurt. Run that version, or restore a backup from before it."""


def steps() -> list[tuple[int, str]]:
    """Number and SQL of every migration, in order."""
    files = resources.files(__name__).iterdir()
    found = sorted((int(m[1]), file.read_text()) for file in files if (m := _NAME.match(file.name)))
    if [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations are not numbered from 1 without a gap")
    return found


async def migrate(connection: asyncpg.Connection) -> int:
    """Bring the schema up to date. Returns its version. Raises LedgerTooNew."""
    known = steps()
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists schema_version "
            "(version integer primary key, applied_at timestamptz default now())"
        )
        version: int = await connection.fetchval("select coalesce(max(version), 0) from schema_version")
        if version > len(known):
            raise LedgerTooNew(f"the ledger has schema {version}, this Yurt knows {len(known)}. {LedgerTooNew.__doc__}")
        for number, sql in known[version:]:
            await connection.execute(sql)
            await connection.execute("insert into schema_version (version) values ($1)", number)
    return len(known)


async def check_server(connection: asyncpg.Connection) -> None:
    """Raise LedgerUnusable where the ledger cannot be on this server."""
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise LedgerUnusable(f"the database is PostgreSQL {version.major}: use {OLDEST_POSTGRES} or newer")
    row = await connection.fetchrow(
        "select current_setting('server_encoding') as encoding, current_schema() as schema, current_user as role,"
        " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) as may"
    )
    assert row
    if row["encoding"] != "UTF8":
        raise LedgerUnusable(f"the database's encoding is {row['encoding']}: create it with encoding 'UTF8'")
    if row["schema"] is None:
        raise LedgerUnusable("the database has no schema of its search_path: create one, or set another search_path")
    if not row["may"]:
        raise LedgerUnusable(
            f"the user {row['role']} may not create tables: grant create on schema {row['schema']} to {row['role']}"
        )


async def check_writes(connection: asyncpg.Connection) -> None:
    """Raise LedgerUnavailable where the server takes no writes now."""
    if await connection.fetchval("select current_setting('transaction_read_only') = 'on' or pg_is_in_recovery()"):
        raise LedgerUnavailable("the database takes no writes: it is read-only, or a replica of another one")
