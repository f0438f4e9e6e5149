"""Limits of a job, whatever the number of its processes (``proc``) and files (``folder_use``)."""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path

import pytest

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import MIB, JobFolder, children_of, failure, limits, pid_of, run, sandbox
from workers import protocol
from workers.sandbox import proc


def greedy(name: str, **changed: float) -> protocol.Handler:
    """The handler of that name in ``greed``."""
    options: dict[str, object] = {"function": f"tests.workers.sandbox.greed:{name}"}
    return protocol.Handler.model_validate({"kind": "python", "options": options, "limits": limits(**changed)})


@pytest.mark.parametrize(
    ("name", "reason", "changed"),
    [
        ("memory_of_many", "memory-limit", {"memory_bytes": 100 * MIB}),
        ("many_processes", "too-many-processes", {}),
        ("many_temporary_files", "output-too-large", {}),
        ("removed_files", "output-too-large", {}),
        ("empty_files", "too-many-files", {}),
        ("processor_of_many", "cpu-limit", {"cpu_seconds": 0.9}),
    ],
)
async def test_the_limits_are_the_jobs(folder: JobFolder, name: str, reason: str, changed: dict[str, float]) -> None:
    before = set(proc.every_pid())
    async with sandbox() as pool:
        error = await failure(pool, greedy(name, **changed), folder.job())
        assert (error.reason, error.retry) == (reason, False), (error.message, error.log)
        async with pool.child() as child:
            left = [pid for pid in children_of(child.pid) if pid not in before]
        assert len(left) <= 1  # the process that waits for the next job
        assert await pid_of(pool, folder)
    await until(lambda: not any(alive(pid) for pid in left))


async def test_shared_memory_is_counted_once(folder: JobFolder) -> None:
    async with sandbox() as pool:
        await run(pool, greedy("shared_memory", memory_bytes=150 * MIB), folder.job())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 300 MiB."""
    (folder := tmp_path / "model").mkdir()
    with (folder / "model.onnx").open("wb") as file:
        for _ in range(300):
            file.write(b"\1" * MIB)
    return folder


async def test_mapped_weights_are_no_memory_of_the_jobs(folder: JobFolder, model: Path) -> None:
    job = replace(folder.job(), models={"safety": model})
    async with sandbox() as pool:
        result = await run(pool, greedy("mapped_model", memory_bytes=100 * MIB), job)
    assert result.labels == {"pages": 300 * MIB // mmap.PAGESIZE}


async def test_a_model_is_no_excuse_for_memory(folder: JobFolder, model: Path) -> None:
    job = replace(folder.job(), models={"safety": model})
    async with sandbox() as pool:
        error = await failure(pool, greedy("memory_in_place_of_a_model", memory_bytes=100 * MIB), job)
    assert error.reason == "memory-limit", (error.message, error.log)


async def test_temporary_files_are_the_jobs_own(folder: JobFolder) -> None:
    job = folder.job()
    async with sandbox() as pool:
        await failure(pool, greedy("many_temporary_files"), job)
    assert list(Path(job.output.parent, "temporary").iterdir())
