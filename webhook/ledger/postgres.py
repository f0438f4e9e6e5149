"""Starts and stops an embedded PostgreSQL for use on one machine: binaries from a wheel, a data folder, a Unix socket.

The server is a child of this process and cannot outlive it: on Linux the kernel sends it SIGINT (PostgreSQL's fast
shutdown) when this process ends, even after SIGKILL.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from webhook.ledger.postgres_data import DATABASE, ROLE, password_file, prepare
from webhook.ledger.postgres_programs import PostgresUnusable, Programs
from webhook.private_file import private

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
    "max_connections": "100",
}


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
        self._programs = Programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """Process ID of the running server."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, and return when it accepts connections. After a crash the same call recovers the data."""
        try:
            sockets = self._opened()
            self.prepare()
            self._run(sockets)
        except BaseException:
            self.stop()
            raise

    def _run(self, sockets: str) -> None:
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "server.log", "ab", opener=private) as log:
            self._process = self._programs.spawn("postgres", self.folder / "data", "-k", sockets, *settings, output=log)
        self._wait()

    def prepare(self) -> None:
        """Make the data and the role of the control plane where they are missing. ``start`` does it too."""
        prepare(self.folder, self._programs)

    def _opened(self) -> str:
        """The folder of the socket, made at the first start. Its DSN names the file of the password, and holds none."""
        if self._sockets is None:
            # Socket paths are limited to about 100 bytes, the data folder's is not.
            self._sockets = tempfile.TemporaryDirectory(prefix="yurt-pg-")
            place = Path(self._sockets.name)
            self._programs.own(place)
            self._programs.make_reachable(place)
            parameters = {"host": self._sockets.name, "user": ROLE, "passfile": str(password_file(self.folder))}
            self.dsn = f"postgresql:///{DATABASE}?{urlencode(parameters)}"
        return self._sockets.name

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
        raise PostgresUnusable(f"PostgreSQL did not start on {self.folder}:\n{log}")
