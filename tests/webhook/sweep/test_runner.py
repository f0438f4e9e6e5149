"""The leader runs ordered sweeps by itself, and the next leader goes on where it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import ADMIN
from tests.webhook.sweep.sweeping import KEYS, Swept, counts, swept
from webhook.config import SweepSettings as Settings
from webhook.ledger.database import Database
from webhook.ledger.ledger import Ledger
from webhook.ledger.sweeps import Sweep, SweepOrder, Sweeps
from webhook.sweep import runner
from webhook.sweep.runner import Runner
from webhook.sweep.schedule import QUERY_IGNORED
from workers import parent_death


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(runner, "SCHEDULE_SECONDS", 0.05)
    monkeypatch.setattr(runner, "FIRST_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def running(it: Swept, **settings: Any) -> AsyncIterator[None]:
    """A leader's sweeps."""
    wanted = Settings(**{"recent_seconds": 0, "full_hours": 0, "pages_per_second": 0, **settings})
    task = asyncio.create_task(Runner(it.sweeps, it.sweeper, it.pipelines, wanted).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def over(sweeps: Sweeps, id: int) -> Sweep:
    """The sweep once it has ended."""

    async def look() -> list[Sweep]:
        sweep = await sweeps.get(id)
        return [sweep] if sweep and sweep.ended else []

    [sweep] = await until(look)
    return sweep


async def test_what_is_ordered_is_done(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        ordered = [await it.sweeps.order(SweepOrder(1, "backfill", key)) for key in KEYS]
        async with running(it, at_once=2):
            done = [await over(it.sweeps, sweep.id) for sweep in ordered]
        assert [(sweep.state, counts(sweep)) for sweep in done] == [("done", {"listed": 1, "found": 1})] * 7


async def test_a_page_that_fails_is_done_again_later(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        it.fault(status=503, after=1, times=3)
        async with running(it):
            done = await over(it.sweeps, (await it.sweeps.order(SweepOrder(1, "full", ""))).id)
        assert (done.state, done.error, done.failures) == ("done", "", 0)
        assert counts(done) == {"listed": 7, "found": 7}


async def test_after_so_many_failures_it_has_failed(
    postgres_dsn: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FAILURES", 3)
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        it.fault(status=503, after=1, times=3)
        async with running(it):
            done = await over(it.sweeps, (await it.sweeps.order(SweepOrder(1, "full", ""))).id)
        assert (done.state, done.failures, done.cursor) == ("failed", 3, "c.jpg")
        assert "503" in done.error
        assert (await it.plane.sql("select * from sweeps"))[0]["finished_at"]


async def test_what_no_retry_can_mend_fails_at_once(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.fault(status=403)
        async with running(it):
            done = await over(it.sweeps, (await it.sweeps.order(SweepOrder(1, "full", ""))).id)
        assert (done.state, done.failures) == ("failed", 1)
        assert "check the keys and their rights" in done.error


async def test_a_fault_of_ours_ends_nothing_else(
    postgres_dsn: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        step = it.sweeper.step

        async def broken(sweep: Sweep) -> Sweep | None:
            if sweep.order.prefix == "b":
                raise ZeroDivisionError
            return await step(sweep)

        monkeypatch.setattr(it.sweeper, "step", broken)
        bad, good = [await it.sweeps.order(SweepOrder(1, "backfill", prefix)) for prefix in ("b", "a")]
        async with running(it):
            assert (await over(it.sweeps, good.id)).state == "done"
            assert "ZeroDivisionError" in (await over(it.sweeps, bad.id)).error


async def test_a_cancelled_sweep_ends(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload(*KEYS)
        ordered = await it.sweeps.order(SweepOrder(1, "backfill", "", pages_per_second=0.01))
        async with running(it):

            async def begun() -> bool:
                return len(await it.plane.objects()) == 3

            await until(begun)
            said = await it.plane.admin("DELETE", f"/v1/sweeps/{ordered.id}")
            assert (said.status_code, said.json()["state"]) == (200, "cancelled")
        assert len(await it.plane.objects()) == 3


# ── the schedule ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def grown_old(it: Swept) -> None:
    """The ledger was made two days ago."""
    await it.plane.sql("update schema_version set applied_at = now() - interval '2 days'")


async def ended(it: Swept, kind: str) -> Sweep:
    """The first scheduled sweep of a kind, once it has ended."""

    async def look() -> int:
        rows = await it.plane.sql("select id from sweeps where kind = $1 and finished_at is not null limit 1", kind)
        return rows[0]["id"] if rows else 0

    return await over(it.sweeps, await until(look))


async def test_a_lost_event_is_found_by_what_changed_lately(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        await grown_old(it)
        async with running(it, recent_seconds=300):
            done = await ended(it, "recent")
        assert done.order.scheduled
        assert counts(done) == {"listed": 1, "found": 1}
        # A leader that comes after a restart reads what was done.
        again = Runner(it.sweeps, it.sweeper, it.pipelines, Settings(recent_seconds=300, full_hours=0))
        assert await again.order_due() == 0


async def test_only_what_changed_lately_is_listed(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        tomorrow = (await it.plane.sql("select now() + interval '1 day' as at"))[0]["at"]
        assert not (await it.client.list_page(it.buckets.inputs, "", modified_since=tomorrow)).objects
        assert (
            len((await it.client.list_page(it.buckets.inputs, "", modified_since=tomorrow.replace(year=2020))).objects)
            == 1
        )


async def test_a_store_that_does_not_know_the_query_is_swept_in_full_only(
    postgres_dsn: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with swept(postgres_dsn, store) as it:
        it.upload("a.jpg")
        await grown_old(it)
        list_page = it.client.list_page

        async def ignorant(*arguments: Any, modified_since: object = None, **more: Any) -> Any:
            return await list_page(*arguments, **more)

        monkeypatch.setattr(it.client, "list_page", ignorant)
        old = "update sweeps set since = now() + interval '1 day' where kind = 'recent' and state = 'wanted'"
        async with running(it, recent_seconds=0):
            pass
        assert await Runner(it.sweeps, it.sweeper, it.pipelines, Settings(recent_seconds=300)).order_due() == 2
        await it.plane.sql(old)
        async with running(it, recent_seconds=300, full_hours=24):
            done = await ended(it, "recent")
            full = await ended(it, "full")
        assert (done.state, done.error) == ("cancelled", QUERY_IGNORED)
        assert (full.state, counts(full)) == ("done", {"listed": 1, "found": 1})
        assert len(await it.plane.sql("select from sweeps")) == 2


# ── SIGKILL ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def serving(folder: Path, dsn: str, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """A real control plane, listening; killed at the end."""
    command = [sys.executable, "-m", "webhook", "serve", "--config", "yurt.toml", "--state", "state", "--announce"]
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "DATABASE_URL": dsn, "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "tid_test", "AWS_SECRET_ACCESS_KEY": "tsec_test", "YURT_ADMIN_TOKEN": ADMIN,
        "YURT_WEBHOOK_SECRETS": "sixteen-characters", parent_death.ENVIRONMENT: "stdin",
    }  # fmt: skip
    with (folder / "log").open("ab") as log, subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert "url" in json.loads(process.stdout.readline()), (folder / "log").read_text()
            yield process
        finally:
            process.kill()
            process.wait(30)


async def test_the_next_leader_goes_on_where_a_killed_one_was(
    postgres_dsn: str, store: LocalStore, tmp_path: Path
) -> None:
    """It was killed while the second listing hung: the first one is not made again."""
    buckets = BucketPair.made(store)
    (tmp_path / "yurt.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:0"\n[pools.local]\nprovider = "none"\n[pipelines.photos]\n'
        f'input = "s3://{buckets.inputs}/"\noutput = "s3://{buckets.outputs}/"\n'
    )
    for key in KEYS:
        buckets.s3.put_object(Bucket=buckets.inputs, Key=key, Body=b"photo")
    async with postgres.database(postgres_dsn) as (database, dsn):
        sweeps = Sweeps(Ledger(database, {}))
        number = await pipeline_number(database, buckets)
        ordered = await sweeps.order(SweepOrder(number, "full", ""))
        # The first look is for manifests, the second one is the sweep's.
        store.fault(bucket=buckets.outputs, listing=True, delay_seconds=60, after=1)
        with serving(tmp_path, dsn, store.endpoint) as process:
            await until(lambda: staged(sweeps, ordered.id))
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        store.http.delete(f"{store.endpoint}/_yurt/faults")
        store.fault(bucket=buckets.inputs, listing=True, status=403, times=1000)
        with serving(tmp_path, dsn, store.endpoint):
            done = await over(sweeps, ordered.id)
        store.http.delete(f"{store.endpoint}/_yurt/faults")
    assert (done.state, done.counts.pages) == ("done", 2)
    assert counts(done) == {"listed": 7, "found": 7}


async def pipeline_number(database: Database, buckets: BucketPair) -> int:
    from webhook.ledger.ledger import pipeline_id

    return await pipeline_id(database, "photos", buckets.inputs)


async def staged(sweeps: Sweeps, id: int) -> bool:
    sweep = await sweeps.get(id)
    return sweep is not None and sweep.stage == "outputs"
