"""Local provider: mints workers as processes on this machine.

Each worker holds a lock on a file named after its label, inherited at birth, for as long as it lives. So the
operating system itself says who is alive: to this control plane, to the next one after a crash, and without
mistaking another process that was given the same number. A worker also ends by itself when its control plane
dies: see `workers.parent_death`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO

import structlog

from webhook.fleet.providers import (
    BOOT_LOG_CHARACTERS,
    Instance,
    MintOrder,
    Offer,
    ProviderError,
    ProviderFinding,
    ProviderRefused,
    is_own,
    require_own,
)
from webhook.private_file import private
from workers import parent_death
from workers.outgoing import ALLOW_HTTP, sends_in_clear
from workers.own_process import own_process

log = structlog.get_logger()

INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|VIRTUAL_ENV|PYTHONPATH|PYTHONHOME|PYTHONUTF8"
    r"|XDG_CACHE_HOME|YURT_CACHE_DIR|YURT_CACHE_BYTES"
    r"|(DY)?LD_LIBRARY_PATH|SSL_CERT_FILE|SSL_CERT_DIR|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy"
    r"|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|OFFLINE|CACHE_DIR|NATIVE_TLS|SYSTEM_CERTS)"
    r"|PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CERT)"
)
"""What a process of ours inherits of the environment: a worker installs from the indexes that it names. Everything
else may be a secret."""

_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0
"""A process that the kernel cannot end after so long is stuck in a device."""


def inherited() -> dict[str, str]:
    """Return the variables of this process that one of ours may inherit: an allow-list, without any secret of ours."""
    return {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}


class LocalProvider:
    """Mints agent processes in sessions of their own.

    Args:
        owner: What the labels of this installation begin with.
        folder: Where to keep a file for each worker and what it prints. Of one control plane alone.
        argv: The worker's command. The token is not in it.
        environment: What a worker gets beside `INHERITED` and ``YURT_URL``, ``YURT_TOKEN``, ``YURT_LABEL``.
        logs: Whether each worker prints into a file; otherwise into this process's stderr.
        log_bytes: A log that grows beyond it loses its first half, at the next `list`.
        log_files: Logs of ended workers to keep.
        grace_seconds: From SIGTERM to SIGKILL.
        close_seconds: The same when the provider is closed: workers then finish what they handle.
        usd_per_hour: What one worker costs.

    """

    lag_seconds = 0.0
    offer_seconds = 3600.0

    def __init__(
        self,
        owner: str,
        folder: Path,
        *,
        argv: Sequence[str] = tuple(own_process("workers")),
        environment: Mapping[str, str] | None = None,
        logs: bool = True,
        log_bytes: int = 4_000_000,
        log_files: int = 40,
        grace_seconds: float = 5.0,
        close_seconds: float = 20.0,
        usd_per_hour: Decimal = Decimal(0),
    ) -> None:
        self._owner = owner
        self._folder = folder
        self._argv = tuple(argv)
        self._environment = dict(environment or {})
        self._logs = _WorkerLogs(folder / "logs", log_bytes, log_files) if logs else None
        self._grace_seconds = grace_seconds
        self._close_seconds = close_seconds
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._closed = False
        self._offer = Offer("", usd_per_hour, description="a process on this machine")

    async def offers(self) -> Sequence[Offer]:
        """One offer, of which there are as many machines as are wanted. See `Provider.offers`."""
        return [self._offer]

    async def check(self) -> Sequence[ProviderFinding]:
        """Nothing that could be wrong before a worker is started. See `Provider.check`."""
        return [ProviderFinding(ok=True, message="workers are processes on this machine")]

    async def mint(self, order: MintOrder) -> str:
        """Start one process; its number is the ref. See `Provider.mint`."""
        if self._closed:
            raise ProviderRefused("the local provider is closed")
        require_own(order, self._owner)
        try:
            return str(self._start(order).pid)
        except OSError as error:
            hint = f"is {self._argv[0]} there, and is there room in {self._folder} and for another process?"
            raise ProviderError(f"no worker was started: {error}", hint=hint) from error

    async def slay(self, instance: Instance) -> None:
        """SIGTERM to its process group, SIGKILL after the grace period. See `Provider.slay`."""
        if is_own(instance.label, self._owner):
            await self._end(instance.label, self._grace_seconds)

    async def _end(self, label: str, grace_seconds: float) -> None:
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _KILL_SECONDS)):
            if (pid := self._look(label)) is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
            await self._ended(label, seconds)
        if self._look(label) is not None:
            raise ProviderError(f"worker {label} outlived SIGKILL", hint="is it stuck in a device?")

    async def list(self) -> Sequence[Instance]:
        """Every worker whose process lives, from the locks. See `Provider.list`."""
        try:
            locks = {path.stem for path in self._files() if path.suffix == ".pid"}
            mine = sorted(label for label in locks | set(self._children) if is_own(label, self._owner))
            alive = [(label, self._look(label)) for label in mine]
            if self._logs:
                self._logs.trim()
        except OSError as error:
            raise ProviderError(f"cannot read {self._folder}: {error}") from error
        return [Instance(label, str(pid)) for label, pid in alive if pid is not None]

    async def boot_log(self, label: str) -> str:
        """Return the end of a worker's log. See `Provider.boot_log`."""
        if self._logs is None or not is_own(label, self._owner):
            return ""
        try:
            return self._logs.end(label)
        except OSError as error:
            raise ProviderError(f"the log of {label} cannot be read: {error}") from error

    async def aclose(self) -> None:
        """End every worker, once it has finished what it handles. See `Provider.aclose`."""
        self._closed = True
        try:
            labels = {instance.label for instance in await self.list()}
        except ProviderError:  # at least the processes of this provider itself
            labels = set(self._children)
        ended = [self._end(label, self._close_seconds) for label in labels]
        for error in await asyncio.gather(*ended, return_exceptions=True):
            if isinstance(error, Exception):  # workers end by themselves with this process
                log.warning("worker not ended", error=str(error))

    def _files(self) -> Sequence[Path]:
        try:
            return [*self._folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):  # it is made for the first worker
            return ()

    def _start(self, order: MintOrder) -> subprocess.Popen[bytes]:
        """The lock is held and the number written before the file has its name: no list sees less."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self._folder / f"{order.label}.pid"
        draft = final.with_suffix(".new")
        try:
            with open(draft, "w", opener=private) as lock, self._output(order.label) as output:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                child = self._spawn(order, lock.fileno(), output)
                self._children[order.label] = child
                lock.write(str(child.pid))
            draft.rename(final)
        except BaseException:
            self._reap(order.label)
            draft.unlink(missing_ok=True)
            raise
        return child

    def _spawn(self, order: MintOrder, lock: int, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=self._child_environment(order),
            pass_fds=(lock,),
            start_new_session=True,
        )

    def _child_environment(self, order: MintOrder) -> dict[str, str]:
        return {
            **inherited(),
            **self._environment,
            "PYTHONUNBUFFERED": "1",
            **order.environment,
            parent_death.ENVIRONMENT: "stdin",
            # The operator wrote such a URL, and the worker is on the same machine.
            **({ALLOW_HTTP: "1"} if sends_in_clear(order.url) else {}),
        }

    @contextmanager
    def _output(self, label: str) -> Iterator[int]:
        if self._logs is None:
            yield sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL
            return
        with self._logs.open(label, keep=self._children) as file:
            yield file.fileno()

    def _look(self, label: str) -> int | None:
        """The number of a worker's process group while it lives. Clears up after one that has ended."""
        path = self._folder / f"{label}.pid"
        try:
            with path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read())
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        self._reap(label)
        return None

    def _reap(self, label: str) -> None:
        """Collect a child that has ended, with what it has left behind in its group.

        Until it is collected its number cannot be another's.
        """
        if (child := self._children.pop(label, None)) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdin:
            child.stdin.close()

    async def _ended(self, label: str, seconds: float) -> None:
        """Wait until no process of its group lives, or for so long."""
        deadline = time.monotonic() + seconds
        while self._look(label) is not None and time.monotonic() < deadline:  # noqa: ASYNC110 - a lock that is released wakes no process
            await asyncio.sleep(_POLL_SECONDS)


class _WorkerLogs:
    """What workers print: a file each, bounded in size and number."""

    def __init__(self, folder: Path, size_bytes: int, files: int) -> None:
        self._folder = folder
        self._size_bytes = size_bytes
        self._files = files

    def open(self, label: str, keep: Container[str]) -> IO[bytes]:
        """A new log for one worker. The oldest are removed, those of ``keep`` excepted."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        ended = [path for path in self._folder.glob("*.log") if path.stem not in keep]
        ended.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in ended[self._files :]:
            path.unlink(missing_ok=True)
        return open(self._folder / f"{label}.log", "ab", opener=private)

    def end(self, label: str) -> str:
        """The file's path, and the end of what one worker printed. Empty where it printed nothing."""
        path = self._folder / f"{label}.log"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - BOOT_LOG_CHARACTERS))
            printed = file.read(BOOT_LOG_CHARACTERS).decode("utf-8", "replace").strip()
        return f"{path.absolute()}\n{printed}"[:BOOT_LOG_CHARACTERS] if printed else ""

    def trim(self) -> None:
        """Cut logs that have grown too long. Workers append, so what they print next goes to the new end."""
        for path in self._folder.glob("*.log"):
            if path.stat().st_size > self._size_bytes:
                self._cut(path)

    def _cut(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(-self._size_bytes // 2, os.SEEK_END)
            tail = file.read(self._size_bytes // 2)
            file.truncate(0)
        with path.open("ab") as file:
            file.write(tail)
