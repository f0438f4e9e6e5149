"""Jobs for the sandbox's tests, and a pool to run them in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from workers import protocol
from workers.handlers import HandlerError, Job, Result
from workers.sandbox import proc
from workers.sandbox.messages import JailRules, JobRequest
from workers.sandbox.pool import Sandbox
from workers.sandbox.process import ChildProcess

ROOT = Path(__file__).parents[3]
MIB = 1 << 20
REQUEST = JobRequest(
    number=1,
    kind="photo",
    options={"sizes": [256]},
    cpu_seconds=1.5,
    memory_bytes=1 << 20,
    output_bytes=1 << 20,
    input="/in",
    output="/out",
    temporary="/temporary",
    key="ü/ 😀",
    etag="e",
    url="",
    sandbox=JailRules(mode="on", read=[], write=[], network=False, ports=[443]),
)
"""A request as a child gets it."""


def limits(**changed: float) -> protocol.Limits:
    """Limits that no well-behaved test handler reaches, but for ``changed``."""
    values: dict[str, Any] = {
        "wall_seconds": 60,
        "cpu_seconds": 30,
        "memory_bytes": 512 * MIB,
        "input_bytes": MIB,
        "output_bytes": MIB,
        **changed,
    }
    return protocol.Limits(**values)


def python(name: str, options: dict[str, JsonValue] | None = None, **changed: float) -> protocol.Handler:
    """The handler of that name in ``misbehaviour``."""
    function = f"tests.workers.sandbox.misbehaviour:{name}"
    return protocol.Handler(
        kind="python", options={"function": function, "options": options or {}}, limits=limits(**changed)
    )


@asynccontextmanager
async def sandbox(slots: int = 1, **settings: Any) -> AsyncIterator[Sandbox]:
    """A pool whose children can import the tests."""
    settings.setdefault("environment", {"PYTHONPATH": str(ROOT)})
    pool = Sandbox(slots=slots, **settings)
    try:
        yield pool
    finally:
        await pool.aclose()


class JobFolder:
    """Makes jobs whose files are below one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs = 0

    def job(self, content: bytes = b"content", key: str = "uploads/a.jpg") -> Job:
        """Make a job with a folder of its own."""
        self._jobs += 1
        folder = self.path / str(self._jobs)
        (folder / "output").mkdir(parents=True)
        (folder / "input").write_bytes(content)
        return Job(input=folder / "input", output=folder / "output", key=key, etag="e1", options={})


async def run(pool: Sandbox, handler: protocol.Handler, job: Job) -> Result:
    """Run one job in a child of the pool."""
    async with pool.child() as child:
        with await child.run(handler, job) as result:
            return Result(tuple(output.file for output in result.outputs), result.labels)


async def pid_of(pool: Sandbox, folder: JobFolder) -> int:
    """The process id that a handler sees in the next child's job."""
    async with pool.child() as child:
        return await pid_in(child, folder)


async def pid_in(child: ChildProcess, folder: JobFolder) -> int:
    """The process id that a handler sees in a job of this child."""
    with await child.run(python("publish_pid"), folder.job()) as result:
        pid = result.labels["pid"]
    assert isinstance(pid, int)
    return pid


async def failure(pool: Sandbox, handler: protocol.Handler, job: Job) -> HandlerError:
    """The error of a job that fails."""
    with pytest.raises(HandlerError) as raised:
        await run(pool, handler, job)
    return raised.value


def children_of(pid: int) -> list[int]:
    """Pids of the living children of a process."""
    return [use.pid for each in proc.every_pid() if (use := proc.use_of(each)) and use.parent == pid]
