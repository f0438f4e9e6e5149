"""``yurt setup`` against the local bucket, which has the notification calls of Tigris."""

from __future__ import annotations

from tests.webhook.cli.shell import Shell


def test_setup_shows_first_and_changes_nothing(shell: Shell) -> None:
    result = shell.yurt("setup", "--url", "https://yurt.example.com")
    assert result.returncode == 0, result.stderr
    assert "https://yurt.example.com/v1/notifications/tigris" in result.stdout
    assert "Nothing was changed" in result.stdout
    assert shell.stack.keys.webhook not in result.stdout
    assert shell.yurt("setup", "--url", "https://other.example.com").stdout.count(f"now:   {shell.stack.url}") == 1


def test_setup_sets_the_notifications_and_reads_them_back(shell: Shell) -> None:
    url = shell.stack.url
    result = shell.yurt("setup", "--url", url, "--yes")
    assert result.returncode == 0, result.stderr
    assert "read back as planned" in result.stdout
    assert 'REGEXP \\"^uploads/\\"' in result.stdout


def test_setup_needs_to_know_where_the_store_reaches_it(shell: Shell) -> None:
    result = shell.yurt("setup")
    assert result.returncode == 2
    assert "server.public_url" in result.stderr
