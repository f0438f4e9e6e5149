"""``yurt callbacks``: what operators read of callbacks."""

from __future__ import annotations

import json

from tests.webhook.cli.shell import Shell


def test_without_a_callback_it_is_said_how_to_have_one(shell: Shell) -> None:
    result = shell.yurt("callbacks", "list")
    assert (result.returncode, result.stderr) == (0, "")
    assert "docs/callbacks.md" in result.stdout
    assert json.loads(shell.yurt("callbacks", "list", "--json").stdout) == {"callbacks": [], "counts": [], "next": None}


def test_one_that_is_not_there_and_a_pipeline_that_is_not_there(shell: Shell) -> None:
    result = shell.yurt("callbacks", "show", "7")
    assert result.returncode == 1
    assert "there is no callback of that number" in result.stderr
    result = shell.yurt("callbacks", "replay", "films", "--told")
    assert result.returncode == 1
    assert "there is no pipeline films" in result.stderr


def test_a_replay_needs_a_choice(shell: Shell) -> None:
    for argv in ([], ["--told", "--given-up"], ["--told", "7"]):
        result = shell.yurt("callbacks", "replay", "photos", *argv)
        assert result.returncode == 2
        assert "give numbers, --given-up or --told" in result.stderr


def test_a_replay_says_how_many(shell: Shell) -> None:
    assert shell.yurt("callbacks", "replay", "photos", "--told", "--dry-run").stdout == "0 would be told again.\n"
