"""``yurt status`` against a running control plane."""

from __future__ import annotations

import json
import re

import httpx

from tests.webhook.cli.shell import Shell


def test_status_as_json(shell: Shell) -> None:
    result = shell.yurt("status", "--json")
    assert result.returncode == 0, result.stderr
    status = json.loads(result.stdout)
    assert status["unaccounted"] == {"events": 0, "changes": 0}
    assert "photos" in status["pipelines"]


def test_status_as_tables_shows_a_key_as_it_is(shell: Shell) -> None:
    event = {
        "eventName": "OBJECT_CREATED_PUT",
        "bucket": "photos-in",
        "object": {"key": "uploads/[bold]a b.jpg", "size": 1, "eTag": "e"},
    }
    url = f"{shell.stack.url}/v1/notifications/tigris"
    headers = {"authorization": f"Bearer {shell.stack.keys.webhook}"}
    assert httpx.post(url, json={"events": [event]}, headers=headers).json()["accepted"] == 1
    result = shell.yurt("status", COLUMNS="140")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^photos +[1-9]\d* +[1-9]", result.stdout, re.MULTILINE), result.stdout


def test_wrong_admin_token(shell: Shell) -> None:
    result = shell.yurt("status", YURT_ADMIN_TOKEN="this-is-not-the-token")
    assert result.returncode == 1
    assert "the admin token is wrong" in result.stderr
    assert "not-the-token" not in result.stderr


def test_no_admin_token(shell: Shell) -> None:
    result = shell.yurt("status", YURT_ADMIN_TOKEN="")
    assert result.returncode == 2
    assert "YURT_ADMIN_TOKEN is not set" in result.stderr


def test_no_control_plane_at_this_url(shell: Shell) -> None:
    result = shell.yurt("status", YURT_URL="http://127.0.0.1:1")
    assert result.returncode == 1
    assert "no control plane answers at http://127.0.0.1:1" in result.stderr
