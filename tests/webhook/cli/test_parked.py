"""``yurt parked``: listing, showing, redriving and forgetting parked objects."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.webhook.cli.shell import Shell

_numbers = itertools.count(1)
LOG = "Traceback (most recent call last):\n\x1b]0;owned\x07ValueError: no"


def park(shell: Shell, *keys: str, reason: str = "crashed") -> dict[str, int]:
    """Let a worker fail objects so that they are parked; their numbers by name."""
    events = [
        {
            "eventName": "OBJECT_CREATED_PUT",
            "eventTime": f"{next(_numbers)}",
            "bucket": "photos-in",
            "object": {"key": f"uploads/{key}", "size": 1, "eTag": "e"},
        }
        for key in keys
    ]
    with httpx.Client(base_url=shell.stack.url, timeout=20) as http:
        hook = {"authorization": f"Bearer {shell.stack.keys.webhook}"}
        http.post("/v1/notifications/tigris", json={"events": events}, headers=hook).raise_for_status()
        worker = {"authorization": f"Bearer {token(shell, http)}"}
        numbers: dict[str, int] = {}
        while len(numbers) < len(keys):
            leases = http.post("/v1/leases", json={"max": 64, "wait": 20}, headers=worker).json()["leases"]
            failure = {"outcome": "failed", "message": "It\u202e broke.", "log": LOG, "retry": False}
            settle = []
            for lease in leases:
                name = lease["key"].removeprefix("uploads/")
                ours = reason if name in keys else "of-another-test"
                settle.append({**failure, "reason": ours, "id": lease["id"], "token": lease["token"]})
                if name in keys:
                    numbers[name] = lease["id"]
            http.post("/v1/leases", json={"max": 0, "settle": settle}, headers=worker).raise_for_status()
    return numbers


def token(shell: Shell, http: httpx.Client) -> str:
    """The token of the worker that these tests act as."""
    if "worker" not in _tokens:
        admin = {"authorization": f"Bearer {shell.stack.keys.admin}"}
        once = http.post("/v1/invitations", json={"pool": "local"}, headers=admin).json()["token"]
        hello = http.post(
            "/v1/workers/hello", json={"instance": "a-test-of-parked"}, headers={"authorization": f"Bearer {once}"}
        )
        _tokens["worker"] = hello.json()["token"]
    return _tokens["worker"]


_tokens: dict[str, str] = {}


@pytest.fixture(autouse=True)
def emptied(shell: Shell) -> Iterator[None]:
    """Leave no parked object for the next test."""
    yield
    shell.yurt("parked", "forget", "--all", "--yes")


def state(shell: Shell, key: str) -> str:
    """``parked``, or ``elsewhere`` where the object is not parked."""
    result = shell.yurt("parked", "list", "--json", "--prefix", f"uploads/{key}")
    return "parked" if json.loads(result.stdout)["objects"] else "elsewhere"


def test_nothing_is_parked(shell: Shell) -> None:
    result = shell.yurt("parked", "list")
    assert (result.returncode, result.stdout) == (0, "No object is parked.\n")
    result = shell.yurt("parked", "redrive", "--all")
    assert (result.returncode, result.stdout) == (0, "0 parked objects match. Nothing was changed.\n")


def test_a_list_counts_by_reason_and_names_the_next_commands(shell: Shell) -> None:
    numbers = park(shell, "a[red].jpg", "b.jpg")
    park(shell, "c.jpg", reason="timeout")
    result = shell.yurt("parked", "list", COLUMNS="160")
    assert result.returncode == 0, result.stderr
    assert "a[red].jpg" in result.stdout
    assert "It\\u202e broke." in result.stdout
    assert "\u202e" not in result.stdout
    counts = result.stdout.partition("The newest")[0]
    assert counts.index("crashed") < counts.index("timeout")
    assert "yurt parked redrive --reason timeout" in result.stdout
    result = shell.yurt("parked", "list", "--reason", "crashed", "--limit", "1", "--json")
    assert json.loads(result.stdout)["counts"] == [{"pipeline": "photos", "reason": "crashed", "objects": 2}]
    assert [row["id"] for row in json.loads(result.stdout)["objects"]] == [numbers["b.jpg"]]
    status = shell.yurt("status", COLUMNS="160").stdout
    assert "parked objects: " in status
    assert "`yurt parked list`" in " ".join(status.split())


def test_an_object_is_shown_by_number_and_by_key(shell: Shell) -> None:
    numbers = park(shell, "a.jpg")
    for which in (str(numbers["a.jpg"]), "uploads/a.jpg"):
        result = shell.yurt("parked", "show", which, COLUMNS="160")
        assert result.returncode == 0, result.stderr
        assert "s3://photos-in/uploads/a.jpg" in result.stdout
        assert "Traceback (most recent call last):\n\\x1b]0;owned\\x07ValueError: no" in result.stdout
        assert "\x1b" not in result.stdout
        result = shell.yurt("parked", "show", which, "--json")
        assert json.loads(result.stdout)["log"] == LOG


def test_what_is_not_parked_cannot_be_shown(shell: Shell) -> None:
    for which, why in (
        ("999999", "no object of that number is parked"),
        ("uploads/x", "no parked object has this key"),
    ):
        result = shell.yurt("parked", "show", which)
        assert result.returncode == 1
        assert why in result.stderr


def test_few_are_redriven_without_a_question(shell: Shell) -> None:
    numbers = park(shell, "a.jpg", "b.jpg")
    result = shell.yurt("parked", "redrive", str(numbers["a.jpg"]), "--dry-run")
    assert result.stdout == "1 parked objects match. Nothing was changed.\n"
    result = shell.yurt("parked", "redrive", str(numbers["a.jpg"]))
    assert (result.returncode, result.stdout) == (0, "1 object is due again. Follow them with: yurt status\n")
    assert (state(shell, "a.jpg"), state(shell, "b.jpg")) == ("elsewhere", "parked")


@pytest.mark.parametrize("verb", ["redrive", "forget"])
def test_many_need_yes_where_there_is_no_terminal(shell: Shell, verb: str) -> None:
    park(shell, *(f"{number}.jpg" for number in range(11)), reason=f"to-{verb}")
    result = shell.yurt("parked", verb, "--reason", f"to-{verb}")
    assert result.returncode == 2
    assert "11 parked objects" in result.stderr
    assert "--yes" in result.stderr
    assert state(shell, "0.jpg") == "parked"
    result = shell.yurt("parked", verb, "--reason", f"to-{verb}", "--yes")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("11 objects are ")
    assert state(shell, "0.jpg") == "elsewhere"


@pytest.mark.parametrize(("answer", "status", "left"), [(b"n\n", 1, "parked"), (b"y\n", 0, "elsewhere")])
def test_on_a_terminal_there_is_a_question(shell: Shell, answer: bytes, status: int, left: str) -> None:
    park(shell, *(f"{number}.jpg" for number in range(11)), reason="question")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [sys.executable, "-m", "webhook", "parked", "forget", "--reason", "question"]
        done = subprocess.run(
            command, cwd=shell.folder, env=shell.environment, stdin=theirs, capture_output=True, timeout=60, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == status, done.stderr
    assert b"Give 11 parked objects up for good? [y/N]" in done.stdout
    assert state(shell, "0.jpg") == left


@pytest.mark.parametrize("verb", ["redrive", "forget"])
def test_a_selection_is_required(shell: Shell, verb: str) -> None:
    for argv in ([], ["--all", "--reason", "x"], ["--all", "1"]):
        result = shell.yurt("parked", verb, *argv)
        assert result.returncode == 2
        assert "give numbers, a filter, or --all alone" in result.stderr


def test_durations(shell: Shell) -> None:
    park(shell, "a.jpg")
    assert state(shell, "a.jpg") == "parked"
    assert shell.yurt("parked", "list", "--older", "1h30m").stdout == "No such object is parked.\n"
    assert "a.jpg" in shell.yurt("parked", "list", "--newer", "2w", COLUMNS="160").stdout
    for wrong in ("1", "h", "1h 30m", "-1h", "1y", "١h", ""):
        result = shell.yurt("parked", "list", "--older", wrong)
        assert result.returncode == 2
        assert "write 30m, 2h or 7d" in result.stderr
