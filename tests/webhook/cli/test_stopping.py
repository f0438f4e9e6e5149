"""SIGTERM ends a command also before it handles signals itself, and as process 1 of a container."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.processes import DEADLINE_SECONDS
from tests.webhook.cli.shell import CONFIG, Shell
from webhook.cli.stopping import STOPPED

WAITS = """
import time
from webhook.cli.stopping import end_on_sigterm

end_on_sigterm()
print("ready", flush=True)
while True:  # a signal that comes just before a system call does not interrupt it
    time.sleep(0.05)
"""
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_a_command_that_has_not_started_ends_with_one_line() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, errors) == (STOPPED, "yurt: stopped by SIGTERM before it had started\n")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, to make a namespace")
def test_process_1_that_waits_for_its_database_leaves(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "yurt.toml").write_text(CONFIG)
    with socket.socket() as silent:  # bound and not listening: connections are refused
        silent.bind(("127.0.0.1", 0))
        address = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/db"
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    "unshare",
                    "--pid",
                    "--fork",
                    "--mount-proc",
                    "--kill-child",
                    sys.executable,
                    "-m",
                    "webhook",
                    "serve",
                ],
                cwd=tmp_path,
                env={**shell.environment, "DATABASE_URL": address},
                stderr=output,
            )
        try:
            wait_until(lambda: "waiting for the database" in log.read_text(), failure=log.read_text)
            [first] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
    assert "stopped while it waited" in log.read_text()
