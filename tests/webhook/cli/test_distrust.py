"""``yurt distrust`` against a running control plane."""

from __future__ import annotations

from tests.webhook.cli.shell import Shell


def test_an_unknown_worker_is_told(shell: Shell) -> None:
    result = shell.yurt("distrust", "999999", "--yes")
    assert result.returncode == 1
    assert "no worker of that number is known" in result.stderr


def test_a_worker_that_has_not_called_home_is_revoked(shell: Shell) -> None:
    assert shell.yurt("invite").returncode == 0
    result = shell.yurt("distrust", "1", "--yes", "--why", "A test.")
    assert result.returncode == 0, result.stderr
    assert "Worker 1 is revoked; " in result.stdout


def test_without_a_terminal_it_asks_for_yes(shell: Shell) -> None:
    result = shell.yurt("distrust", "1")
    assert result.returncode != 0
    assert "--yes" in result.stderr
