"""``yurt worker`` with an environment that is not complete."""

from __future__ import annotations

from tests.webhook.cli.shell import Shell


def test_a_missing_variable_is_named(shell: Shell) -> None:
    result = shell.yurt("worker", YURT_URL="")
    assert result.returncode == 2
    assert "YURT_URL is missing" in result.stderr
