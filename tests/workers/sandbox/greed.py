"""Handlers that take much with many processes and files, each of them within its own limits."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from workers.handlers import Job, Result

MIB = 1 << 20


def memory_of_many(job: Job) -> Result:
    """Hold 60 MiB in each of six processes."""
    for _ in range(6):
        if os.fork() == 0:
            held = bytearray(60 * MIB)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(3_600)
    time.sleep(3_600)
    raise AssertionError


def many_processes(job: Job) -> Result:
    """Start more processes than a job may have."""
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(3_600)
        time.sleep(0.002)
    time.sleep(3_600)
    raise AssertionError


def _write(path: Path) -> None:
    path.write_bytes(b"x" * 900_000)


def many_temporary_files(job: Job) -> Result:
    """Write more than a job may, in files that are not too large and of which none is an output."""
    folder = Path(os.environ["TMPDIR"])
    for number in range(40):
        _write(folder / f"{number}")
    time.sleep(3_600)
    raise AssertionError


def removed_files(job: Job) -> Result:
    """Likewise in files without a name."""
    held = []
    for _ in range(40):
        _write(job.output / "x")
        held.append((job.output / "x").open("rb"))
        (job.output / "x").unlink()
    time.sleep(3_600)
    raise AssertionError


def empty_files(job: Job) -> Result:
    """Make very many files without a byte."""
    for number in range(12_000):
        (job.output / f"{number}").touch()
    time.sleep(3_600)
    raise AssertionError


def processor_of_many(job: Job) -> Result:
    """Burn time in two processes, each of which has had less than the limit."""
    if os.fork() == 0:
        pass
    while True:
        pass


def shared_memory(job: Job) -> Result:
    """Map 60 MiB once and have ten processes see it: that is no more memory."""
    held = mmap.mmap(-1, 60 * MIB)
    held.write(b"x" * (60 * MIB))
    pids = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            sum(held[::4096])
            time.sleep(0.3)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return Result(outputs=())


def mapped_model(job: Job) -> Result:
    """Touch every page of a model that is larger than the memory limit, in two processes, and keep them for a while."""
    with (job.models["safety"] / "model.onnx").open("rb") as file:
        weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    other = os.fork()
    pages = sum(1 for begin in range(0, len(weights), mmap.PAGESIZE) if weights[begin] == 1)
    time.sleep(0.5)
    if other == 0:
        os._exit(0)
    os.waitpid(other, 0)
    return Result(outputs=(), labels={"pages": pages})


def memory_in_place_of_a_model(job: Job) -> Result:
    """Hold 150 MiB of memory of its own, where the address space of an unmapped model would allow it."""
    held = bytearray(150 * MIB)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(3_600)
    raise AssertionError
