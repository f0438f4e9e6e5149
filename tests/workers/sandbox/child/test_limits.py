"""The kernel's limits, one job after the other."""

from __future__ import annotations

from tests.workers.sandbox.jobs import MIB, JobFolder, failure, python, run, sandbox


async def test_a_spinning_handler_ends_at_its_processor_time(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("spin", cpu_seconds=0.2), folder.job())
        assert (error.reason, error.retry) == ("cpu-limit", False)
        assert "0.2 s of processor time" in error.message


async def test_what_earlier_jobs_used_is_not_counted(folder: JobFolder) -> None:
    async with sandbox() as pool:
        for _ in range(2):
            await run(pool, python("burn", cpu_seconds=1), folder.job())


async def test_the_limits_of_one_job_are_not_the_next_ones(folder: JobFolder) -> None:
    async with sandbox() as pool:
        await run(pool, python("publish_pid", output_bytes=10, memory_bytes=100 * MIB), folder.job())
        result = await run(pool, python("many_large_files", output_bytes=2 * MIB), folder.job())
    assert len(result.outputs) == 4
