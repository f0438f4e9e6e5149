"""What one job leaves behind ends with it."""

from __future__ import annotations

from pathlib import Path

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import JobFolder, limits, python, run, sandbox
from workers import protocol


async def test_temporary_files_lie_in_the_jobs_own_folder(folder: JobFolder) -> None:
    jobs = [folder.job() for _ in range(2)]
    async with sandbox() as pool:
        paths = [(await run(pool, python("leave_temporary_file"), job)).labels for job in jobs]
    for job, labels in zip(jobs, paths, strict=True):
        assert {Path(str(path)).parent for path in labels.values()} == {job.output.parent / "temporary"}


async def test_threads_and_programs_end_with_their_file(folder: JobFolder) -> None:
    async with sandbox() as pool:
        labels = (await run(pool, python("leave_thread_and_program"), folder.job())).labels
        assert not alive(int(str(labels["pid"])))  # gone before the outputs are looked at
        await until(lambda: not alive(int(str(labels["program"]))))


async def test_a_file_can_neither_answer_for_the_next_nor_for_the_template(folder: JobFolder) -> None:
    async with sandbox() as pool:
        held = (await run(pool, python("descriptors"), folder.job())).labels["open"]
    assert isinstance(held, list)
    assert (held[:3], len(held)) == ([0, 1, 2], 4)  # standard streams, and the pipe for its own outcome


async def test_a_limit_cannot_be_raised_again(folder: JobFolder) -> None:
    handler = protocol.Handler(
        kind="python", options=python("hard_limits").options, limits=limits(cpu_seconds=7, output_bytes=12_345)
    )
    async with sandbox() as pool:
        assert (await run(pool, handler, folder.job())).labels == {"cpu": 9, "size": 12_345}
