"""Measures a full sweep of known objects, ordered over HTTP, beside a bare listing of the same bucket."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx

from tests.bench.listing import PREFIX
from tests.bench.plane import SECRET, BenchPlane, pipeline_number, serving
from tests.bench.report import BenchFigure
from tests.polling import wait_until
from webhook.storage import ObjectStore
from webhook.storage.presign import SigningKeys
from workers import parent_death

_OBJECTS = 100_000
_LONGEST_SECONDS = 3600.0
_HEADERS = {"authorization": f"Bearer {SECRET}"}


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure all figures of this part."""
    with listing(_OBJECTS) as endpoint, serving(folder, store=endpoint) as plane:
        await insert_known(plane, _OBJECTS)
        bare = await bare_listing(endpoint)
        run_sweep(plane)  # warm
        before = plane.resident_bytes()
        seconds, sweep = run_sweep(plane)
        after = plane.resident_bytes()
        work = await objects_with_work(plane.dsn)
    assert sweep["state"] == "done", sweep
    assert sweep["known"] == sweep["listed"] == _OBJECTS, sweep
    what = f"full sweep of {_OBJECTS:,} known objects"
    return [
        BenchFigure(f"bare listing of {_OBJECTS:,} objects", bare, "s"),
        BenchFigure(what, seconds, "s", at_most=60),
        BenchFigure(f"{what}, objects to be worked after it", work, "objects", at_most=0),
        BenchFigure(f"{what}, memory after it ÷ before", after / 2**20, "MiB", ratio=after / before, at_most=1.1),
    ]


@contextlib.contextmanager
def listing(objects: int) -> Iterator[str]:
    """Serve a bucket of many objects in a process of its own. Yields its endpoint."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.listing", str(objects)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, parent_death.ENVIRONMENT: "stdin"},
    ) as process:
        assert process.stdout
        yield json.loads(process.stdout.readline())["endpoint"]
        process.terminate()


async def insert_known(plane: BenchPlane, objects: int) -> None:
    """Insert all objects as done."""
    connection = await asyncpg.connect(plane.dsn)
    await connection.execute(
        """
        insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, newest_at,
                             done_etag, done_modified, done_at, published)
        select $1, $2::text || lpad(n::text, 9, '0') || '.jpg', 'done', 'work', now() - interval '1 day', now(),
               'accepted', int8send(n), '2026-05-15 10:30Z', md5(n::text), '2026-05-15 10:30Z', now(),
               '{"256.webp": "e", "512.webp": "e", "1600.webp": "e", "metadata.json": "e", "result.json": "e"}'
        from generate_series(0, $3::bigint - 1) as n
        """,
        await pipeline_number(plane.dsn),
        PREFIX,
        objects,
        timeout=600,
    )
    await connection.execute("vacuum analyze objects", timeout=600)
    await connection.close()


async def bare_listing(endpoint: str) -> float:
    """Seconds that the same client takes for the listing alone."""
    store = ObjectStore(endpoint, "auto", SigningKeys("bench", "bench"))
    started, after, more = time.perf_counter(), "", True
    while more:
        page = await store.list_page("photos-in", "uploads/", after=after)
        after, more = page.last, page.more
    seconds = time.perf_counter() - started
    await store.aclose()
    return seconds


def run_sweep(plane: BenchPlane) -> tuple[float, dict[str, object]]:
    """Run a sweep without a limit of pages a second. Returns its seconds and the sweep."""
    started = time.perf_counter()
    order = {"kind": "full", "pages_per_second": 0}
    [sweep] = httpx.post(f"{plane.url}/v1/sweeps", json=order, headers=_HEADERS).json()["sweeps"]

    def ended() -> dict[str, object] | None:
        now: dict[str, object] = httpx.get(f"{plane.url}/v1/sweeps/{sweep['id']}", headers=_HEADERS).json()
        return None if now["state"] in ("wanted", "running") else now

    ended_sweep = wait_until(ended, seconds=_LONGEST_SECONDS, pause_seconds=0.25)
    assert ended_sweep
    return time.perf_counter() - started, ended_sweep


async def objects_with_work(dsn: str) -> int:
    """Number of objects with work to do."""
    connection = await asyncpg.connect(dsn)
    number: int = await connection.fetchval("select count(*) from objects where state <> 'done'")
    await connection.close()
    return number
