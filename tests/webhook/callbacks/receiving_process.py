"""The receiving app as a process that tests start and kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.polling import until
from tests.webhook.callbacks.receiving_app import received, refused
from webhook.config import CallbackSettings
from workers import parent_death


class ReceivingProcess:
    """The receiving app as a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process else None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.webhook.callbacks.receiving_app", str(self.folder), str(self.port)]
        (self.folder / "port").unlink(missing_ok=True)
        # In a process group of its own: Ctrl-C of a run is not for it.
        environment = {**os.environ, parent_death.ENVIRONMENT: "stdin"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, process_group=0)
        await until((self.folder / "port").exists, seconds=30)
        self.port = int((self.folder / "port").read_text())

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stdin:
                self.process.stdin.close()
            self.process = None

    def answer(self, status: int) -> None:
        (self.folder / "status").write_text(str(status))

    @property
    def settings(self) -> CallbackSettings:
        return CallbackSettings(url=f"http://127.0.0.1:{self.port}/hook?app=1", allow_private=True)

    def received(self) -> list[dict[str, Any]]:
        return received(self.folder)

    def refused(self) -> int:
        """How many callbacks it has answered with an error."""
        return refused(self.folder)


@contextlib.contextmanager
def running_app(folder: Path) -> Iterator[ReceivingProcess]:
    folder.mkdir(exist_ok=True)
    app = ReceivingProcess(folder)
    try:
        yield app
    finally:
        app.kill()
