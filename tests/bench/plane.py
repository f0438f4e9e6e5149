"""Control plane under measurement: the real server in a process of its own, with a new PostgreSQL and no machines."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from tests.postgres import OpenPostgres
from workers import parent_death

SECRET = "bench-secret-0123456789"
CONFIG = """
[server]
listen = "127.0.0.1:0"
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
[pools.local]
provider = "none"
limit = 100
slots = 16
silent_seconds = 3600
"""


@dataclass(frozen=True, slots=True)
class BenchPlane:
    """A running server."""

    url: str
    dsn: str
    pid: int

    def worker(self) -> str:
        """Register a worker. Returns its token."""
        headers = {"authorization": f"Bearer {SECRET}"}
        invited = httpx.post(f"{self.url}/v1/invitations", headers=headers, json={"pool": "local"}).json()
        hello = {"instance": invited["label"]}
        headers = {"authorization": f"Bearer {invited['token']}"}
        token: str = httpx.post(f"{self.url}/v1/workers/hello", headers=headers, json=hello).json()["token"]
        return token

    def resident_bytes(self) -> int:
        """Resident memory of the server's process (VmRSS)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")


@contextlib.contextmanager
def serving(folder: Path, store: str = "", settings: str = CONFIG, **environment: str) -> Iterator[BenchPlane]:
    """Run a server and its database for the length of the ``with`` block.

    ``store`` is an endpoint, ``settings`` the text of yurt.toml. ``environment`` is added to the server's.
    """
    config = folder / "yurt.toml"
    config.write_text(settings)
    database = OpenPostgres(folder / "postgres")
    database.start()
    try:
        with (folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "webhook",
                    "serve",
                    "--config",
                    str(config),
                    "--state",
                    str(folder),
                    "--announce",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    "PATH": os.environ["PATH"],
                    "DATABASE_URL": database.dsn,
                    "YURT_WEBHOOK_SECRETS": SECRET,
                    "YURT_ADMIN_TOKEN": SECRET,
                    "AWS_ACCESS_KEY_ID": "bench",
                    "AWS_SECRET_ACCESS_KEY": "bench",
                    **({"AWS_ENDPOINT_URL_S3": store} if store else {}),
                    **environment,
                    parent_death.ENVIRONMENT: "stdin",
                },
            )
        with process:
            assert process.stdout
            yield BenchPlane(json.loads(process.stdout.readline())["url"], database.dsn, process.pid)
            process.terminate()
    finally:
        database.stop()


async def empty(dsn: str) -> None:
    """Delete all objects and counters."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("truncate objects, tally")
    await connection.close()


async def fill(dsn: str, pipeline: int, rows: int, first: int) -> None:
    """Insert waiting objects, and update the planner's statistics."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        """
        insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, event_etag, event_size)
        select $1, 'uploads/2026/05/photo-' || lpad(n::text, 9, '0') || '.jpg', 'pending', 'work', now(), now(),
               'accepted', int8send(n), md5(n::text), 1048576
        from generate_series($2::bigint, $2::bigint + $3::bigint - 1) as n
        """,
        pipeline,
        first,
        rows,
        timeout=600,
    )
    await connection.execute("vacuum analyze objects", timeout=600)
    await connection.execute("checkpoint", timeout=600)
    await connection.close()


async def pipeline_number(dsn: str) -> int:
    """The ledger's number of the pipeline."""
    connection = await asyncpg.connect(dsn)
    number: int = await connection.fetchval("select id from pipelines")
    await connection.close()
    return number
