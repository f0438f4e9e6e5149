"""Warm children, one for each slot."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from tests.polling import until
from tests.workers.checks.graphs import write_model
from tests.workers.handlers.photo.samples import solid
from tests.workers.inference.graphs import endless_graph
from tests.workers.processes import alive, descendants
from tests.workers.sandbox.jobs import JobFolder, failure, limits, pid_in, pid_of, python, run, sandbox
from workers import protocol
from workers.inference import client
from workers.inference.address import INFERENCE
from workers.sandbox import pool as module
from workers.sandbox import proc
from workers.sandbox.errors import WorkerFault
from workers.sandbox.pool import Sandbox


async def test_a_warm_child_serves_many_jobs_each_in_a_process_of_its_own(folder: JobFolder) -> None:
    async with sandbox() as pool:
        async with pool.child() as first:
            pids = [await pid_in(first, folder) for _ in range(3)]
        assert len({os.getpid(), first.pid, *pids}) == 5
        assert not any(alive(pid) for pid in pids)
        async with pool.child() as second:
            assert second is first


async def test_the_child_used_last_is_the_next_to_be_used() -> None:
    async with sandbox(slots=2) as pool:
        async with pool.child() as first, pool.child():
            pass  # the second is given back before the first
        for _ in range(2):
            async with pool.child() as child:
                assert child is first


async def test_a_slot_has_one_child_that_is_started_before_the_first_job() -> None:
    async with sandbox(slots=2) as pool:
        async with pool.child() as first, pool.child() as second:
            children = {first, second}
        async with pool.child() as third, pool.child() as fourth:
            assert {third, fourth} == children


async def test_as_many_jobs_run_at_once_as_there_are_slots(folder: JobFolder) -> None:
    async with sandbox(slots=2) as pool:
        jobs = [folder.job() for _ in range(3)]
        tasks = [asyncio.create_task(run(pool, python("hang"), job)) for job in jobs]
        await until(lambda: sum((job.output / "started").exists() for job in jobs) == 2)
        tasks[0].cancel()
        await until(lambda: all((job.output / "started").exists() for job in jobs))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def templates() -> int:
    """How many processes of slots this process has now."""
    uses = (proc.use_of(pid) for pid in descendants(os.getpid()))
    return sum(use.parent == os.getpid() and b"sandbox.child" in argv_of(use.pid) for use in uses if use)


def argv_of(pid: int) -> bytes:
    """Its command line; empty: it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_slot_that_no_job_needs_gets_its_child_after_the_first_job() -> None:
    with mock.patch.object(module, "WARM_SECONDS", 600):
        async with sandbox(slots=3) as pool:
            async with pool.child(), pool.child():
                assert templates() == 2
            await until(lambda: templates() == 3)


async def test_a_slot_gets_its_child_in_time_without_any_job() -> None:
    with mock.patch.object(module, "WARM_SECONDS", 0.01):
        async with sandbox(slots=2):
            await until(lambda: templates() == 2)


async def test_a_wider_pool_takes_more_jobs_at_once() -> None:
    async with sandbox() as pool, AsyncExitStack() as held:
        await held.enter_async_context(pool.child())
        waiting = asyncio.create_task(held.enter_async_context(pool.child()))
        assert (pool.slots, waiting.done()) == (1, False)
        pool.widen(2)
        await waiting
        pool.widen(1)  # never fewer
        assert pool.slots == 2


async def test_a_child_that_died_while_idle_is_replaced() -> None:
    async with sandbox() as pool:
        async with pool.child() as first:
            pass
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: not first.usable)
        async with pool.child() as second:
            assert second.usable


async def test_cancelling_kills_the_child(folder: JobFolder) -> None:
    async with sandbox() as pool:
        async with pool.child() as child:
            pass
        job = folder.job()
        task = asyncio.create_task(run(pool, python("hang"), job))
        await until((job.output / "started").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not alive(child.pid))
        assert await pid_of(pool, folder)


async def test_closing_ends_busy_and_idle_children_and_blames_no_object(folder: JobFolder) -> None:
    async with sandbox(slots=2) as pool:
        async with pool.child() as first, pool.child() as second:
            pids = first.pid, second.pid
        job = folder.job()
        task = asyncio.create_task(run(pool, python("hang"), job))
        await until((job.output / "started").exists)
        await pool.aclose()
        with pytest.raises(WorkerFault, match="closed"):
            await task
        assert not any(alive(pid) for pid in pids)
        with pytest.raises(WorkerFault, match="closed"):
            await run(pool, python("publish_pid"), folder.job())


async def test_closing_ends_children_that_are_being_started() -> None:
    pool = Sandbox(slots=2)
    waiting = asyncio.create_task(pool.child().__aenter__())
    await asyncio.sleep(0)
    await pool.aclose()
    with pytest.raises(WorkerFault, match="closed"):
        await waiting


async def test_a_child_that_cannot_start_is_the_workers_fault(folder: JobFolder) -> None:
    async with sandbox(preload=("no-such-kind",)) as pool:
        with pytest.raises(WorkerFault, match="no-such-kind"):
            await run(pool, python("publish_pid"), folder.job())


async def test_a_sandbox_has_a_slot() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Sandbox(slots=0)


RED = solid((255, 0, 0), 40, 30).pngsave_buffer()


def checking(**changed: float) -> protocol.Handler:
    """A handler of photos that asks the model ``safety``."""
    return protocol.Handler(kind="photo", options={"checks": ["safety"]}, limits=limits(**changed))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")
async def test_models_run_once_for_all_slots_and_in_no_process_of_a_photo(folder: JobFolder, tmp_path: Path) -> None:
    models = {"safety": write_model(tmp_path / "models" / "safety")}
    async with sandbox(slots=2, models=tmp_path / "models") as pool:
        async with pool.child() as first, pool.child() as second:
            for child in (first, second, first):
                with await child.run(checking(), replace(folder.job(RED), models=models)) as result:
                    assert result.labels["verdict"] == "refused"
            for child in (first, second):
                mapped = Path(f"/proc/{child.pid}/maps").read_text()
                assert "numpy" in mapped, "else each photo loads it"
                assert "onnxruntime" not in mapped
        assert pool.inference
        assert pool.inference.pid
        assert "onnxruntime" in Path(f"/proc/{pool.inference.pid}/maps").read_text()


async def test_a_photo_whose_model_ends_its_process_is_tried_again(folder: JobFolder, tmp_path: Path) -> None:
    models = {"safety": write_model(tmp_path / "models" / "safety", endless_graph())}
    async with sandbox(models=tmp_path / "models") as pool:
        pid = await _loaded(pool, models["safety"])
        job = asyncio.create_task(failure(pool, checking(), replace(folder.job(RED), models=models)))
        await until(lambda: _is_busy(pid))
        os.kill(pid, signal.SIGKILL)
        error = await job
        assert (error.reason, error.retry) == ("crashed", True)
        assert error.message == (
            "The model safety gave no answer: the process that runs models has ended while it was asked."
        )
        models["safety"] = write_model(tmp_path / "models" / "other")
        labels = (await run(pool, checking(), replace(folder.job(RED), models=models))).labels
    assert labels["verdict"] == "refused"


async def test_a_model_that_never_ends_costs_the_time_of_its_photo(folder: JobFolder, tmp_path: Path) -> None:
    models = {"safety": write_model(tmp_path / "models" / "safety", endless_graph())}
    async with sandbox(models=tmp_path / "models") as pool:
        pid = await _loaded(pool, models["safety"])
        error = await failure(pool, checking(wall_seconds=3), replace(folder.job(RED), models=models))
        assert error.reason == "timeout"
        await until(lambda: not _is_busy(pid))  # its run was ended with the photo
        assert pool.inference
        assert pool.inference.pid == pid


async def _loaded(pool: Sandbox, model: Path) -> int:
    """Have a model loaded. Returns the pid of the process that runs it."""
    assert pool.inference
    with mock.patch.dict(os.environ, {INFERENCE: pool.inference.address}):
        await asyncio.to_thread(client.open_graph, model / "model.onnx")
        client.disconnect()
    assert pool.inference.pid
    return pool.inference.pid


def _is_busy(pid: int) -> bool:
    """Whether a process uses the processor now."""
    before = use.cpu_seconds if (use := proc.use_of(pid)) else 0
    time.sleep(0.3)
    return bool((use := proc.use_of(pid)) and use.cpu_seconds - before > 0.1)
