"""``yurt quarantine``: listing, showing and replaying events that could not be read."""

from __future__ import annotations

import json

import httpx

from tests.webhook.cli.shell import Shell


def send(shell: Shell, *events: object) -> dict[str, int]:
    """Notify as the store does."""
    headers = {"authorization": f"Bearer {shell.stack.keys.webhook}"}
    response = httpx.post(f"{shell.stack.url}/v1/notifications/tigris", json={"events": events}, headers=headers)
    return dict(response.json())


def test_events_are_listed_and_shown_with_control_characters_escaped(shell: Shell) -> None:
    assert send(shell, {"what": "\u202e[bold]"}, {"eventName": 3})["quarantined"] == 2
    result = shell.yurt("quarantine", "list", COLUMNS="160")
    assert result.returncode == 0, result.stderr
    assert "tigris" in result.stdout
    items = json.loads(shell.yurt("quarantine", "list", "--json").stdout)["items"]
    texts = {}
    for item in items:
        assert str(item["id"]) in result.stdout
        shown = shell.yurt("quarantine", "show", str(item["id"]))
        assert shown.returncode == 0, shown.stderr
        texts[item["id"]] = shown.stdout
    joined = "".join(texts.values())
    assert "[bold]" in joined
    assert "\u202e" not in joined
    assert "`yurt quarantine list`" in shell.yurt("status").stdout
    assert shell.yurt("quarantine", "list", "--source", "telex").stdout == "Nothing of that kind is in quarantine.\n"
    result = shell.yurt("quarantine", "show", "99999999")
    assert result.returncode == 1
    assert "no text of that number is in quarantine" in result.stderr


def test_an_event_that_still_cannot_be_read_stays_and_is_named(shell: Shell) -> None:
    send(shell, {"eventName": "still\x07bad"})
    items = json.loads(shell.yurt("quarantine", "list", "--json", "--limit", "1").stdout)["items"]
    result = shell.yurt("quarantine", "replay", str(items[0]["id"]))
    assert result.returncode == 1
    assert result.stdout.startswith("0 replayed.\n1 still cannot be read:\n")
    result = shell.yurt("quarantine", "replay", "--all", "--dry-run")
    assert result.stdout.startswith("0 can be read now. Nothing was changed.\n")
    assert json.loads(shell.yurt("quarantine", "list", "--json", "--limit", "1").stdout)["items"] == items


def test_a_selection_that_matches_nothing_and_none_at_all(shell: Shell) -> None:
    result = shell.yurt("quarantine", "replay", "--source", "telex")
    assert (result.returncode, result.stdout) == (0, "0 replayed.\n")
    for argv in ([], ["--all", "--source", "x"], ["--all", "1"]):
        result = shell.yurt("quarantine", "replay", *argv)
        assert result.returncode == 2
        assert "give numbers, a filter, or --all alone" in result.stderr
