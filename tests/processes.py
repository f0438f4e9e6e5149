"""Runs ``yurt`` as a process and follows every process that it starts. Linux only: it reads /proc."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tests.polling import wait_until
from workers.own_process import own_process

Value = TypeVar("Value")

DEADLINE_SECONDS = 90.0


class Command:
    """A running ``yurt`` command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.descendants: set[tuple[int, str]] = set()
        """Process numbers with their start times, so that a number used again is another."""
        self.out: list[str] = []
        self.err: list[str] = []
        pairs = ((process.stdout, self.out), (process.stderr, self.err))
        self._readers = [threading.Thread(target=_collect, args=pair, daemon=True) for pair in pairs]
        for reader in self._readers:
            reader.start()

    def until(self, reached: Callable[[], Value]) -> Value:
        """Wait until a condition is true, noting every process that is started meanwhile."""

        def attempt() -> Value:
            self.note_descendants()
            value = reached()
            assert value or self.process.poll() is None, f"it ended early: {self.output()}"
            return value

        return wait_until(attempt, seconds=DEADLINE_SECONDS, failure=self.output)

    def until_printed(self, pattern: str) -> None:
        self.until(lambda: re.search(pattern, self.output()))

    def descendant(self, argument: str) -> int:
        """Number of the one process with this word on its command line."""
        [number] = {pid for pid, _ in _below(self.process.pid) if argument in _command_line(pid).split()}
        return number

    def output(self) -> str:
        return "".join((*self.out, *self.err))

    def note_descendants(self) -> None:
        self.descendants |= set(_below(self.process.pid))

    def ended(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end; its exit status."""

        def has_ended() -> bool:
            self.note_descendants()
            return self.process.poll() is not None

        wait_until(has_ended, seconds=seconds, failure=lambda: f"it does not end: {self.output()}")
        for reader in self._readers:
            reader.join(DEADLINE_SECONDS)
        return int(self.process.returncode)

    def left(self) -> list[str]:
        """Command lines of the processes that it left behind."""
        return [_command_line(pid) for pid, started in self.descendants if _started(pid) == started]

    def until_nothing_is_left(self) -> None:
        """Wait for the processes that end by themselves once their parent was killed."""
        wait_until(lambda: not self.left(), seconds=DEADLINE_SECONDS, failure=lambda: str(self.left()))


@contextlib.contextmanager
def yurt(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    """Run ``yurt …`` in a session of its own, as a terminal does. Ends it if the test does not."""
    process = subprocess.Popen(
        own_process("webhook", *arguments),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()  # its children end with it: each watches for the death of its parent
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream
            stream.close()


def _collect(stream: Iterator[str], into: list[str]) -> None:
    with contextlib.suppress(ValueError):  # closed
        into.extend(stream)


def _below(root: int) -> Iterator[tuple[int, str]]:
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append((int(entry.name), fields[19]))
    waiting = [root]
    while waiting:
        for pid, started in children.get(waiting.pop(), ()):
            waiting.append(pid)
            yield pid, started


def _started(pid: int) -> str | None:
    """When it started; None where it has ended."""
    fields = _fields(pid)
    return None if fields is None or fields[0] == "Z" else fields[19]


def _fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat, from the state on (proc_pid_stat(5): field 3)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return f"process {pid}"
