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


def test_a_secret_that_the_control_plane_does_not_take_is_not_given_to_the_store(shell: Shell) -> None:
    url = shell.stack.url
    result = shell.yurt("setup", "--url", url, "--yes", YURT_WEBHOOK_SECRETS="a secret of another time")
    assert result.returncode == 1
    assert "does not take this secret" in result.stderr
    assert "another time" not in result.stdout + result.stderr
    assert "read back" not in result.stdout


def test_a_control_plane_that_cannot_be_tried_from_here_is_said(shell: Shell) -> None:
    result = shell.yurt("setup", "--url", "http://127.0.0.1:1")
    assert result.returncode == 0
    assert "could not be tried from here" in result.stdout
