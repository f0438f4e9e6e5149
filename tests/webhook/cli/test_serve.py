"""``yurt serve``: errors at the start, and the order in which it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.webhook.cli.shell import CONFIG, Shell


def test_no_secret_for_notifications(shell: Shell) -> None:
    result = shell.yurt("serve", YURT_WEBHOOK_SECRETS="")
    assert result.returncode == 2
    assert "YURT_WEBHOOK_SECRETS" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_secret_that_can_be_guessed(shell: Shell) -> None:
    result = shell.yurt("serve", YURT_ADMIN_TOKEN="hunter2")
    assert result.returncode == 2
    assert "YURT_ADMIN_TOKEN: a secret of fewer than 16 characters can be guessed" in result.stderr
    assert "hunter2" not in result.stderr


def test_missing_configuration(shell: Shell) -> None:
    result = shell.yurt("serve", "--config", "nowhere.toml")
    assert result.returncode == 2
    assert "there is no nowhere.toml" in result.stderr


def test_port_in_use(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = shell.yurt("serve", "--state", "taken", YURT_SERVER__LISTEN=listen)
    assert result.returncode == 2
    assert listen in result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_variable_is_named(shell: Shell) -> None:
    result = shell.yurt("serve", YURT_SERVER__BODY_LIMIT_BYTES="many")
    assert result.returncode == 2
    assert "server.body_limit_bytes" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_leaves_in_order_and_takes_its_database_along(shell: Shell, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "yurt.toml").write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "webhook", "serve", "--announce"],
        cwd=tmp_path,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    url = json.loads(process.stdout.readline())["url"]
    assert httpx.get(f"{url}/readyz").status_code == 200
    postmaster = int((tmp_path / ".yurt/postgres/data/postmaster.pid").read_text().split()[0])
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert json.loads(errors.splitlines()[-1])["event"] == "left"
    assert not Path(f"/proc/{postmaster}").exists()
    assert shell.stack.keys.secret_key not in errors
    assert shell.stack.keys.webhook not in errors
