"""The sandbox, with real processes: whatever a handler does ends its child and never the agent."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pyvips
from pydantic import JsonValue

from tests.workers.handlers.photo.samples import quadrants
from workers import protocol
from workers.handlers import HandlerError, Job, Result
from workers.sandbox import Sandbox, WorkerFault
from workers.sandbox.descendants import kill
from workers.sandbox.environment import scrubbed
from workers.sandbox.log import MAX_CHARACTERS, Log

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


def limits(**changed: float) -> protocol.Limits:
    wanted: dict[str, Any] = {
        "wall_seconds": 60,
        "cpu_seconds": 30,
        "memory_bytes": 512 * MIB,
        "input_bytes": MIB,
        "output_bytes": MIB,
        **changed,
    }
    return protocol.Limits(**wanted)


def python(name: str, options: dict[str, JsonValue] | None = None, **changed: float) -> protocol.Handler:
    function = f"tests.workers.misbehaviour:{name}"
    return protocol.Handler(
        kind="python", options={"function": function, "options": options or {}}, limits=limits(**changed)
    )


@asynccontextmanager
async def sandbox(slots: int = 1, **settings: Any) -> AsyncIterator[Sandbox]:
    settings.setdefault("environment", {"PYTHONPATH": str(ROOT)})
    made = Sandbox(slots, **settings)
    try:
        yield made
    finally:
        await made.aclose()


class JobFolder:
    """Makes jobs whose files are below one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = 0

    def job(self, content: bytes = b"content", key: str = "uploads/a.jpg") -> Job:
        self._made += 1
        folder = self.path / str(self._made)
        (folder / "output").mkdir(parents=True)
        (folder / "input").write_bytes(content)
        return Job(input=folder / "input", output=folder / "output", key=key, etag="e1", options={})


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never became true"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def pid_of(box: Sandbox, folder: JobFolder) -> int:
    result = await box.run(python("say_pid"), folder.job())
    pid = result.labels["pid"]
    assert isinstance(pid, int)
    return pid


async def failure(box: Sandbox, handler: protocol.Handler, job: Job) -> HandlerError:
    with pytest.raises(HandlerError) as raised:
        await box.run(handler, job)
    return raised.value


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_warm_child_serves_many_jobs(folder: JobFolder) -> None:
    async with sandbox() as box:
        await box.warm()
        first = await pid_of(box, folder)
        assert first != os.getpid()
        assert await pid_of(box, folder) == first


async def test_a_child_is_replaced_after_its_share_of_jobs(folder: JobFolder) -> None:
    async with sandbox(jobs_per_child=2) as box:
        pids = [await pid_of(box, folder) for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        await until(lambda: not alive(pids[0]))


async def test_as_many_jobs_run_at_once_as_there_are_slots(folder: JobFolder) -> None:
    async with sandbox(slots=2) as box:
        jobs = [folder.job() for _ in range(3)]
        runs = [asyncio.create_task(box.run(python("hang"), job)) for job in jobs]
        await until(lambda: sum((job.output / "started").exists() for job in jobs) == 2)
        runs[0].cancel()
        await until(lambda: all((job.output / "started").exists() for job in jobs))
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)


async def test_a_child_that_died_while_idle_is_replaced(folder: JobFolder) -> None:
    async with sandbox() as box:
        first = await pid_of(box, folder)
        os.kill(first, signal.SIGKILL)
        await until(lambda: not box._idle[0].usable)
        assert await pid_of(box, folder) != first


async def test_cancelling_kills_the_child(folder: JobFolder) -> None:
    async with sandbox() as box:
        pid = await pid_of(box, folder)
        job = folder.job()
        run = asyncio.create_task(box.run(python("hang"), job))
        await until((job.output / "started").exists)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: not alive(pid))
        assert await pid_of(box, folder) != pid


async def test_closing_ends_busy_and_idle_children_and_blames_no_object(folder: JobFolder) -> None:
    box = Sandbox(2, environment={"PYTHONPATH": str(ROOT)})
    await box.warm()
    children = [child._process.pid for child in box._idle]
    job = folder.job()
    run = asyncio.create_task(box.run(python("hang"), job))
    await until((job.output / "started").exists)
    await box.aclose()
    with pytest.raises(WorkerFault, match="closed"):
        await run
    assert not any(alive(pid) for pid in children)
    with pytest.raises(WorkerFault, match="closed"):
        await box.run(python("say_pid"), folder.job())
    await box.aclose()


async def test_a_child_that_cannot_start_is_the_workers_fault(folder: JobFolder) -> None:
    async with sandbox(preload=("no-such-kind",)) as box:
        with pytest.raises(WorkerFault, match="no-such-kind"):
            await box.run(python("say_pid"), folder.job())


# ── what a child is given ────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YURT_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "SOME_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_TIME", "C")
    made = scrubbed({"MODEL": "m"})
    assert "secret" not in made.values()
    assert (made["PATH"], made["LC_TIME"], made["MODEL"]) == (os.environ["PATH"], "C", "m")


async def test_no_secret_reaches_a_child(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_TOKEN", "secret")
    async with sandbox() as box:
        labels = (await box.run(python("environment"), folder.job())).labels
    assert "secret" not in labels.values()


async def test_a_handler_gets_its_options_and_the_key(folder: JobFolder) -> None:
    async with sandbox() as box:
        result = await box.run(python("echo_options", {"a": [1]}), folder.job(key="ü/ 😀"))
    assert result == Result(outputs=(), labels={"options": {"a": [1]}, "key": "ü/ 😀", "etag": "e1"})


async def test_prints_do_not_corrupt_the_protocol(folder: JobFolder) -> None:
    async with sandbox() as box:
        first = await box.run(python("shout"), folder.job())
        assert [file.name for file in first.outputs] == ["done.txt"]
        assert await pid_of(box, folder)


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_handlers_own_refusal_keeps_the_child(folder: JobFolder) -> None:
    async with sandbox() as box:
        pid = await pid_of(box, folder)
        error = await failure(box, python("refuse"), folder.job())
        assert (error.reason, error.message, error.retry) == ("unreadable", "This is no picture.", False)
        assert "looked at it" in error.log
        assert await pid_of(box, folder) == pid
        error = await failure(box, python("fail_loudly"), folder.job())
        assert "looked at it" not in error.log


async def test_any_other_exception_is_the_handlers_fault_and_replaces_the_child(folder: JobFolder) -> None:
    async with sandbox() as box:
        pid = await pid_of(box, folder)
        error = await failure(box, python("fail_loudly"), folder.job())
        assert (error.reason, error.retry) == ("handler-error", True)
        assert error.message == "The handler failed with RuntimeError: no idea what went wrong"
        assert "what was printed\ufffd\ufffd[31m\n" in error.log
        assert "in fail_loudly" in error.log
        assert "\0" not in error.log
        assert await pid_of(box, folder) != pid


@pytest.mark.parametrize(
    ("name", "reason", "retry", "words"),
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
        ("no_such_function", "handler-error", True, "no_such_function"),
        ("NOT_A_FUNCTION", "handler-error", True, "not a function"),
    ],
)
async def test_what_a_handler_does_wrong(folder: JobFolder, name: str, reason: str, retry: bool, words: str) -> None:
    async with sandbox() as box:
        error = await failure(box, python(name), folder.job())
        assert (error.reason, error.retry) == (reason, retry), error.log
        assert words in error.message
        assert await pid_of(box, folder)


async def test_no_file_grows_past_the_limit(folder: JobFolder) -> None:
    job = folder.job()
    async with sandbox() as box:
        await failure(box, python("one_large_file"), job)
    assert (job.output / "large.txt").stat().st_size <= MIB


async def test_a_crash_says_where(folder: JobFolder) -> None:
    async with sandbox() as box:
        error = await failure(box, python("segfault"), folder.job())
    assert re.search(r"misbehaviour.py.* in segfault", error.log)


@pytest.mark.parametrize(
    ("name", "content_type", "times", "words"),
    [
        ("../x.txt", "text/plain", 1, "name"),
        ("", "text/plain", 1, "name"),
        (".hidden", "text/plain", 1, "name"),
        ("result.json", "application/json", 1, "manifest"),
        ("a.txt", "text/plain\r\nX-Evil: 1", 1, "content_type"),
        ("a.txt", "text/plain", 2, "twice"),
    ],
)
async def test_names_and_types_are_checked(
    folder: JobFolder, name: str, content_type: str, times: int, words: str
) -> None:
    claim = python("claim", {"name": name, "content_type": content_type, "times": times})
    async with sandbox() as box:
        error = await failure(box, claim, folder.job())
    assert error.reason == "handler-error"
    assert words in error.message


@pytest.mark.parametrize("name", ["fill_disk", "fill_disk_as_libvips"])
async def test_a_full_disk_is_the_workers_fault(folder: JobFolder, name: str) -> None:
    async with sandbox() as box:
        with pytest.raises(WorkerFault, match="disk is full"):
            await box.run(python(name), folder.job())
        assert await pid_of(box, folder)


async def test_the_log_waits_for_what_is_still_in_the_pipe() -> None:
    stream = asyncio.StreamReader()
    log = Log(stream)
    stream.feed_data(b"early ")
    words = asyncio.create_task(log.until(b"END"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not words.done()
    stream.feed_data(b"late END the next job's")
    assert await words == "early late "
    await log.aclose()


async def test_the_log_keeps_its_end(folder: JobFolder) -> None:
    noisy = protocol.Handler(
        kind="command",
        options={"argv": ["sh", "-c", "seq 1 200000; echo the end; exit 1", "{input}"]},
        limits=limits(),
    )
    async with sandbox() as box:
        error = await failure(box, noisy, folder.job())
    assert len(error.log) == MAX_CHARACTERS
    assert "200000\nthe end\n" in error.log


# ── with libvips ─────────────────────────────────────────────────────────────────────────────────────────────────


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
    async with sandbox(preload=("photo",)) as box:
        result = await box.run(photo(), job)
    assert {file.name for file in result.outputs} == {path.name for path in job.output.iterdir()}
    assert result.labels["width"] == 120


@pytest.mark.parametrize("memory_mib", [24, 40])
async def test_libvips_out_of_memory(folder: JobFolder, memory_mib: int) -> None:
    job = folder.job(large_photo())
    async with sandbox(preload=("photo",)) as box:
        error = await failure(box, photo(memory_bytes=memory_mib * MIB), job)
        assert (error.reason, error.retry) == ("memory-limit", False), (error.message, error.log)
        assert await pid_of(box, folder)


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("webpsave: failed to allocate 5760000 bytes", False),
        ("vips_tracked: out of memory --- size == 36MB", False),
        ("glib: Error creating thread: Resource temporarily unavailable", True),
        ("can't start new thread", True),
    ],
)
async def test_how_libraries_say_that_memory_ran_out(folder: JobFolder, text: str, retry: bool) -> None:
    async with sandbox() as box:
        error = await failure(box, python("complain", {"text": text}), folder.job())
    assert (error.reason, error.retry) == ("memory-limit", retry)


async def test_libvips_over_the_size_of_outputs(folder: JobFolder) -> None:
    job = folder.job(quadrants().write_to_buffer(".png"))
    async with sandbox() as box:
        error = await failure(box, photo(output_bytes=50), job)
    assert (error.reason, error.retry) == ("output-too-large", False), error.message


@pytest.mark.parametrize("name", ["256.webp", "metadata.json"])
async def test_a_disk_that_is_really_full(folder: JobFolder, name: str) -> None:
    job = folder.job(quadrants().write_to_buffer(".png"))
    (job.output / name).symlink_to("/dev/full")
    async with sandbox() as box:
        with pytest.raises(WorkerFault, match="disk is full"):
            await box.run(photo(), job)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_spinning_handler_ends_at_its_processor_time(folder: JobFolder) -> None:
    async with sandbox() as box:
        pid = await pid_of(box, folder)
        error = await failure(box, python("spin", cpu_seconds=0.2), folder.job())
        assert (error.reason, error.retry) == ("cpu-limit", False)
        assert "0.2 s of processor time" in error.message
        assert await pid_of(box, folder) != pid


async def test_what_earlier_jobs_used_is_not_counted(folder: JobFolder) -> None:
    async with sandbox() as box:
        for _ in range(2):
            await box.run(python("burn", cpu_seconds=1), folder.job())


async def test_a_hang_ends_at_the_wall(folder: JobFolder) -> None:
    async with sandbox() as box:
        pid = await pid_of(box, folder)
        error = await failure(box, python("hang", wall_seconds=0.2), folder.job())
        assert (error.reason, error.retry) == ("timeout", True)
        assert "0.2 s" in error.message
        await until(lambda: not alive(pid))


async def test_the_limits_of_one_job_are_not_the_next_ones(folder: JobFolder) -> None:
    async with sandbox() as box:
        await box.run(python("say_pid", output_bytes=10, memory_bytes=100 * MIB), folder.job())
        result = await box.run(python("many_large_files", output_bytes=2 * MIB), folder.job())
    assert len(result.outputs) == 4


# ── what is left running ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hang", [False, True])
async def test_daemons_are_found_and_killed(folder: JobFolder, hang: bool) -> None:
    job = folder.job()
    async with sandbox() as box:
        if hang:
            run = asyncio.create_task(box.run(python("stray", {"hang": True}), job))
            await until((job.output / "daemon.txt").exists)
            run.cancel()
            await asyncio.wait([run])
        else:
            await box.run(python("stray"), job)
        daemon = int((job.output / "daemon.txt").read_text())
        await until(lambda: not alive(daemon))
        assert await pid_of(box, folder)


async def test_a_fork_bomb_dies_with_its_group(folder: JobFolder) -> None:
    job = folder.job()
    pids = job.output / "pids"
    async with sandbox() as box:
        run = asyncio.create_task(box.run(python("fork_bomb"), job))
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 64)
        run.cancel()
        await asyncio.wait([run])
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


async def test_a_group_is_killed_whole() -> None:
    shell = "sleep 3600 & sleep 3600 & echo $! ; wait"
    with subprocess.Popen(["sh", "-c", shell], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        last = int(process.stdout.readline())
        kill(process.pid)
    await until(lambda: not alive(last))


def test_killing_what_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as process:
        pass
    kill(process.pid)


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.workers.handlers.photo.samples import quadrants
from workers import protocol
from workers.handlers import Job
from workers.sandbox import Sandbox
from tests.workers.test_sandbox import python, ROOT

async def main():
    box = Sandbox(1, environment={"PYTHONPATH": str(ROOT)})
    folder = Path(sys.argv[1])
    await box.run(python(sys.argv[2]), Job(folder, folder, "key", "etag", {}))

asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["lose_lock", "fork_bomb"])
async def test_children_die_with_a_killed_agent(tmp_path: Path, handler: str) -> None:
    """Also inside a C call that holds the interpreter's lock, and with all that they started."""
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path), handler], cwd=ROOT)
    files = {"lose_lock": ("pid", 1), "fork_bomb": ("pids", 64)}
    name, count = files[handler]
    try:
        await until(lambda: (tmp_path / name).exists() and len((tmp_path / name).read_text().split()) == count)
    finally:
        agent.kill()
        agent.wait()
    await until(lambda: not any(alive(int(pid)) for pid in (tmp_path / name).read_text().split()))


async def test_a_sandbox_has_a_slot() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Sandbox(0)
