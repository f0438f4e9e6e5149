"""``yurt status``, ``yurt invite``, ``yurt setup``: what people run against a control plane."""

from __future__ import annotations

import json
import re

import httpx

from tests.webhook.cli.conftest import Shell


def test_status_as_json(shell: Shell) -> None:
    said = shell.yurt("status", "--json")
    assert said.returncode == 0, said.stderr
    status = json.loads(said.stdout)
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
    said = shell.yurt("status", COLUMNS="140")
    assert said.returncode == 0, said.stderr
    assert re.search(r"photos\s*│\s*\d+\s*│\s*[1-9]", said.stdout), said.stdout


def test_wrong_admin_token(shell: Shell) -> None:
    said = shell.yurt("status", YURT_ADMIN_TOKEN="not-the-token")
    assert said.returncode == 1
    assert "the admin token is wrong" in said.stderr
    assert "not-the-token" not in said.stderr


def test_no_admin_token(shell: Shell) -> None:
    said = shell.yurt("status", YURT_ADMIN_TOKEN="")
    assert said.returncode == 2
    assert "YURT_ADMIN_TOKEN is not set" in said.stderr


def test_nobody_there(shell: Shell) -> None:
    said = shell.yurt("status", YURT_URL="http://127.0.0.1:1")
    assert said.returncode == 1
    assert "no control plane answers at http://127.0.0.1:1" in said.stderr


def test_invited_worker_may_call_home_once(shell: Shell) -> None:
    said = shell.yurt("invite")
    assert said.returncode == 0, said.stderr
    token = re.findall(r"^export YURT_TOKEN=(\S+)$", said.stdout, re.MULTILINE)[0]
    hello = f"{shell.stack.url}/v1/workers/hello"
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.post(hello, json={"instance": "a" * 16}, headers=headers).status_code == 200
    assert httpx.post(hello, json={"instance": "b" * 16}, headers=headers).status_code == 401


def test_invite_to_an_unknown_pool_names_those_there_are(shell: Shell) -> None:
    said = shell.yurt("invite", "--pool", "gpu")
    assert said.returncode == 1
    assert "there are: local" in said.stderr


def test_setup_shows_first_and_changes_nothing(shell: Shell) -> None:
    said = shell.yurt("setup", "--url", "https://yurt.example.com")
    assert said.returncode == 0, said.stderr
    assert "https://yurt.example.com/v1/notifications/tigris" in said.stdout
    assert "Nothing was changed" in said.stdout
    assert shell.stack.keys.webhook not in said.stdout
    assert shell.yurt("setup", "--url", "https://other.example.com").stdout.count(f"now:   {shell.stack.url}") == 1


def test_setup_makes_it_and_reads_it_back(shell: Shell) -> None:
    url = shell.stack.url
    said = shell.yurt("setup", "--url", url, "--yes")
    assert said.returncode == 0, said.stderr
    assert "read back as asked for" in said.stdout
    assert 'REGEXP \\"^uploads/\\"' in said.stdout


def test_setup_needs_to_know_where_the_store_reaches_it(shell: Shell) -> None:
    said = shell.yurt("setup")
    assert said.returncode == 2
    assert "server.public_url" in said.stderr


def test_worker_says_what_it_needs(shell: Shell) -> None:
    said = shell.yurt("worker", YURT_URL="")
    assert said.returncode == 2
    assert "YURT_URL is missing" in said.stderr
