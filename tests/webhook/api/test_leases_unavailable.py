"""Handlers that cannot run on a worker: their pipeline is paused there, and no object is charged for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.polling import until
from tests.webhook.plane import RunningPlane, Worker, configured, control_plane, event, pipeline
from tests.webhook.settlements import done, failed
from workers import protocol

SAID = "tables.py, line 1: SyntaxError: invalid syntax"


@asynccontextmanager
async def paused(dsn: str, *keys: str) -> AsyncIterator[tuple[RunningPlane, Worker]]:
    """A worker that has released its first leases because the handler cannot run on it."""
    config = configured({"photos": pipeline(conditions="quoted", attempts=2)})
    async with control_plane(dsn, config) as plane:
        worker = await plane.worker()
        await plane.notify(*(event(key) for key in keys))
        leases = (await worker.ask(most=64, wait=5)).leases
        await worker.ask(most=0, settle=[unavailable(lease) for lease in leases])
        await plane.sql("update objects set due_at = now()")
        yield plane, worker


def unavailable(lease: protocol.Lease) -> protocol.Released:
    return protocol.Released(id=lease.id, token=lease.token, unavailable=SAID)


async def retry_now(plane: RunningPlane) -> None:
    await plane.sql(
        "update workers set unavailable = (select coalesce(jsonb_object_agg(key, value || '{\"retry_at\": 0}'), '{}') "
        "from jsonb_each(unavailable))"
    )


async def granted(worker: Worker) -> list[protocol.Lease]:
    """Leases of the first request after a pause: a replica remembers for a second who is paused."""

    async def leases() -> list[protocol.Lease]:
        return (await worker.ask(most=64)).leases

    return await until(leases)


async def pause_of(plane: RunningPlane) -> dict[str, object] | None:
    pause: dict[str, object] | None = (await plane.admin("GET", "/v1/status")).json()["pipelines"]["photos"][
        "unavailable"
    ]
    return pause


async def test_a_worker_without_the_handler_gets_nothing_and_nothing_is_charged(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b", "c") as (plane, worker):
        assert (await worker.ask(most=64)).leases == []
        rows = (await plane.objects()).values()
        assert {(row["state"], row["attempts"], row["error"]) for row in rows} == {("pending", 0, None)}
        pause = await pause_of(plane)
        assert pause is not None
        assert (pause["workers"], pause["of"], pause["everywhere"], pause["message"]) == (1, 1, True, SAID)
        metrics = (await plane.http.get("/metrics")).text
        assert 'yurt_handler_unavailable_workers{pipeline="photos"} 1.0' in metrics


async def test_another_worker_that_has_the_handler_goes_on(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b") as (plane, worker):
        able = await plane.worker()
        for _ in range(2):
            lease = await able.lease()
            await able.ask(most=0, settle=[done(lease)])
        pause = await pause_of(plane)
        assert pause is not None
        assert (pause["workers"], pause["of"], pause["everywhere"]) == (1, 2, False)
        assert (await worker.ask()).leases == []


async def test_one_object_is_the_try_and_a_failure_doubles_the_pause(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b", "c") as (plane, worker):
        for seconds in (60, 120, 240, 300, 300):
            await retry_now(plane)
            [lease] = await granted(worker)
            await worker.ask(most=0, settle=[unavailable(lease)])
            await plane.sql("update objects set due_at = now()")
            pause = await pause_of(plane)
            assert pause is not None
            assert seconds - 20 < float(str(pause["retry_seconds"])) <= seconds
            assert (await worker.ask(most=64)).leases == []
        assert {row["attempts"] for row in (await plane.objects()).values()} == {0}


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_try_that_reaches_the_handler_ends_the_pause(postgres_dsn: str, succeeds: bool) -> None:
    async with paused(postgres_dsn, "a", "b", "c") as (plane, worker):
        await retry_now(plane)
        [lease] = await granted(worker)
        await worker.ask(most=0, settle=[done(lease) if succeeds else failed(lease, reason="unreadable", retry=False)])
        assert await pause_of(plane) is None
        assert len((await worker.ask(most=64)).leases) == 2


async def test_a_fault_of_the_store_does_not_end_the_pause(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b") as (plane, worker):
        await retry_now(plane)
        [lease] = await granted(worker)
        await worker.ask(most=0, settle=[failed(lease, reason="store")])
        assert await pause_of(plane) is not None


async def test_changed_handlers_are_tried_at_once(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b") as (plane, worker):
        response = await worker.post("leases", {"max": 64, "handlers_changed": True})
        assert len(response.json()["leases"]) == 2
        assert await pause_of(plane) is None


async def test_no_machine_is_wanted_for_a_handler_that_runs_on_none(postgres_dsn: str) -> None:
    async with paused(postgres_dsn, "a", "b") as (plane, _):
        assert (await plane.services.fleet.demand("local", 10)).pending == 0
        await plane.worker()
        assert (await plane.services.fleet.demand("local", 10)).pending == 2
