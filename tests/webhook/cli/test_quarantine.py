"""``yurt quarantine``: what people do about events that could not be read."""

from __future__ import annotations

import json

import httpx

from tests.webhook.cli.conftest import Shell


def send(shell: Shell, *events: object) -> dict[str, int]:
    """Notify as the store does."""
    headers = {"authorization": f"Bearer {shell.stack.keys.webhook}"}
    said = httpx.post(f"{shell.stack.url}/v1/notifications/tigris", json={"events": events}, headers=headers)
    return dict(said.json())


def test_what_could_not_be_read_is_listed_and_shown_safely(shell: Shell) -> None:
    assert send(shell, {"what": "\u202e[bold]"}, {"eventName": 3})["quarantined"] == 2
    said = shell.yurt("quarantine", "list", COLUMNS="160")
    assert said.returncode == 0, said.stderr
    assert "tigris" in said.stdout
    items = json.loads(shell.yurt("quarantine", "list", "--json").stdout)["items"]
    texts = {}
    for item in items:
        assert str(item["id"]) in said.stdout
        shown = shell.yurt("quarantine", "show", str(item["id"]))
        assert shown.returncode == 0, shown.stderr
        texts[item["id"]] = shown.stdout
    joined = "".join(texts.values())
    assert "[bold]" in joined
    assert "\u202e" not in joined
    assert ": yurt quarantine list" in shell.yurt("status").stdout
    assert shell.yurt("quarantine", "list", "--source", "telex").stdout == "Nothing of that kind is in quarantine.\n"
    said = shell.yurt("quarantine", "show", "99999999")
    assert said.returncode == 1
    assert "no text of that number is in quarantine" in said.stderr


def test_what_still_cannot_be_read_stays_and_is_told(shell: Shell) -> None:
    send(shell, {"eventName": "still\x07bad"})
    items = json.loads(shell.yurt("quarantine", "list", "--json", "--limit", "1").stdout)["items"]
    said = shell.yurt("quarantine", "replay", str(items[0]["id"]))
    assert said.returncode == 1
    assert said.stdout.startswith("0 read and taken in.\n1 still cannot be read:\n")
    said = shell.yurt("quarantine", "replay", "--all", "--dry-run")
    assert said.stdout.startswith("0 can be read now. Nothing was changed.\n")
    assert json.loads(shell.yurt("quarantine", "list", "--json", "--limit", "1").stdout)["items"] == items


def test_nothing_is_meant(shell: Shell) -> None:
    said = shell.yurt("quarantine", "replay", "--source", "telex")
    assert (said.returncode, said.stdout) == (0, "0 read and taken in.\n")
    for argv in ([], ["--all", "--source", "x"], ["--all", "1"]):
        said = shell.yurt("quarantine", "replay", *argv)
        assert said.returncode == 2
        assert "say which" in said.stderr
