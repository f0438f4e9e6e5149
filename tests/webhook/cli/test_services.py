"""``yurt services`` against a running control plane, which answers with what service_status finds."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.webhook.cli.shell import Shell
from webhook.cli import services


def test_without_services_the_command_says_how_to_make_one(shell: Shell) -> None:
    result = shell.yurt("services")
    assert "[services.NAME]" in result.stdout, result.stderr
    assert json.loads(shell.yurt("services", "--json").stdout) == {"services": []}


def test_services_are_shown_with_their_machines_and_why_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {
        "worker": 7,
        "label": "l",
        "state": "failing",
        "in_flight": 0,
        "idle_seconds": 90,
        "log": "",
        "message": "no GPU",
    }
    service = {
        "name": "sdxl", "pool": "gpu", "waiting": 2, "in_flight": 1, "concurrency": 1, "withheld": "",
        "not_minted": "the budget of the day is spent", "machines": [machine, {**machine, "state": "ready"}],
    }  # fmt: skip
    monkeypatch.setattr(services, "call", lambda *_: {"services": [service]})
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "an-admin-token-of-tests")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(services.command, [])
    assert result.exit_code == 0, result.output
    assert "1 failing, 1 ready" in result.output
    assert "sdxl gets no machine: the budget of the day is spent" in result.output
    assert "sdxl fails on machine 7: no GPU" in result.output
