"""Jobs in real child processes: a handler that misbehaves ends its child and never the agent."""

from __future__ import annotations

import functools
import re

import pytest
import pyvips

from tests.polling import until
from tests.workers.handlers.photo.samples import quadrants
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import MIB, JobFolder, failure, limits, pid_of, python, run, sandbox
from workers import protocol
from workers.handlers import Result


async def test_a_handler_gets_its_options_and_the_key(folder: JobFolder) -> None:
    async with sandbox() as pool:
        result = await run(pool, python("echo_options", {"a": [1]}), folder.job(key="ü/ 😀"))
    assert result == Result(outputs=(), labels={"options": {"a": [1]}, "key": "ü/ 😀", "etag": "e1"})


async def test_prints_do_not_corrupt_the_protocol(folder: JobFolder) -> None:
    async with sandbox() as pool:
        first = await run(pool, python("print_much"), folder.job())
        assert [file.name for file in first.outputs] == ["done.txt"]
        assert await pid_of(pool, folder)


async def test_a_handlers_own_refusal(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("refuse"), folder.job())
        assert (error.reason, error.message, error.retry) == ("unreadable", "This is no picture.", False)
        assert "looked at it" in error.log
        error = await failure(pool, python("fail_loudly"), folder.job())
        assert "looked at it" not in error.log


async def test_any_other_exception_is_the_handlers_fault(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("fail_loudly"), folder.job())
        assert (error.reason, error.retry) == ("handler-error", True)
        assert error.message == "The handler failed with RuntimeError: no idea what went wrong"
        assert "what was printed\ufffd\ufffd[31m\n" in error.log
        assert "in fail_loudly" in error.log
        assert "\0" not in error.log


@pytest.mark.parametrize(
    ("name", "reason", "retry", "message"),
    [
        ("segfault", "crashed", True, "SIGSEGV"),
        ("vanish", "crashed", True, "exit code 3"),
        ("exit_early", "handler-error", True, "SystemExit"),
        ("eat_memory", "memory-limit", False, "512 MiB"),
        ("abort_for_memory", "memory-limit", False, "512 MiB"),
        ("one_large_file", "output-too-large", False, "1.0 MiB"),
        ("many_large_files", "output-too-large", False, "1.0 MiB"),
        ("many_files", "too-many-outputs", False, "65"),
        ("link", "handler-error", True, "passwd.txt"),
        ("folder", "handler-error", True, "only plain files"),
        ("not_there", "handler-error", True, "nothing.txt"),
        ("huge_labels", "handler-error", True, "labels"),
        ("lone_surrogate", "handler-error", True, "cannot be read"),
        ("odd_reason", "handler-error", True, "cannot be read"),
        ("not_json", "handler-error", True, "ValueError"),
        ("wrong_type", "handler-error", True, "returned list"),
    ],
)
async def test_what_a_handler_does_wrong(folder: JobFolder, name: str, reason: str, retry: bool, message: str) -> None:
    async with sandbox() as pool:
        async with pool.child() as child:
            pass
        error = await failure(pool, python(name), folder.job())
        assert (error.reason, error.retry) == (reason, retry), error.log
        assert message in error.message
        assert child.usable  # what one file does costs the next one no start
        assert await pid_of(pool, folder)


async def test_no_file_grows_past_the_limit(folder: JobFolder) -> None:
    job = folder.job()
    async with sandbox() as pool:
        await failure(pool, python("one_large_file"), job)
    assert (job.output / "large.txt").stat().st_size <= MIB


async def test_a_crash_says_where(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("segfault"), folder.job())
    assert re.search(r"misbehaviour.py.* in segfault", error.log)


@pytest.mark.parametrize("name", ["fill_disk", "fill_disk_as_libvips"])
async def test_a_file_that_says_that_the_disk_is_full_is_charged_where_it_is_not(folder: JobFolder, name: str) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python(name), folder.job())
    assert (error.reason, error.retry) == ("disk-full", True)


async def test_a_hang_ends_at_the_wall(folder: JobFolder) -> None:
    async with sandbox() as pool:
        async with pool.child() as child:
            pass
        error = await failure(pool, python("hang", wall_seconds=0.2), folder.job())
        assert (error.reason, error.retry) == ("timeout", True)
        assert "0.2 s" in error.message
        await until(lambda: not alive(child.pid))


def photo(**changed: float) -> protocol.Handler:
    return protocol.Handler(kind="photo", limits=limits(**changed))


@functools.cache
def large_photo() -> bytes:
    """12 megapixels of PNG, which no decoder can shrink while loading; interlaced, so that all of it is held."""
    image = pyvips.Image.xyz(4_000, 3_000)
    image = (image[0] % 251).bandjoin([image[1] % 241, (image[0] + image[1]) % 239])
    content: bytes = image.cast("uchar").copy(interpretation="srgb").pngsave_buffer(compression=1, interlace=True)
    return content


async def test_a_photo(folder: JobFolder) -> None:
    job = folder.job(quadrants().write_to_buffer(".jpg"))
    async with sandbox(preload=("photo",)) as pool:
        result = await run(pool, photo(), job)
    assert {file.name for file in result.outputs} == {path.name for path in job.output.iterdir()}
    assert result.labels["width"] == 120


@pytest.mark.parametrize("memory_mib", [24, 40])
async def test_libvips_out_of_memory(folder: JobFolder, memory_mib: int) -> None:
    job = folder.job(large_photo())
    async with sandbox(preload=("photo",)) as pool:
        error = await failure(pool, photo(memory_bytes=memory_mib * MIB), job)
        assert (error.reason, error.retry) == ("memory-limit", False), (error.message, error.log)
        assert await pid_of(pool, folder)


async def test_libvips_over_the_size_of_outputs(folder: JobFolder) -> None:
    job = folder.job(quadrants().write_to_buffer(".png"))
    async with sandbox() as pool:
        error = await failure(pool, photo(output_bytes=50), job)
    assert (error.reason, error.retry) == ("output-too-large", False), error.message


@pytest.mark.parametrize("name", ["256.webp", "metadata.json"])
async def test_a_photo_that_finds_no_room(folder: JobFolder, name: str) -> None:
    job = folder.job(quadrants().write_to_buffer(".png"))
    (job.output / name).symlink_to("/dev/full")
    async with sandbox() as pool:
        error = await failure(pool, photo(), job)
    assert (error.reason, error.retry) == ("disk-full", True)
