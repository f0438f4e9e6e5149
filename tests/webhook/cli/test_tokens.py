"""``yurt tokens`` against a running control plane."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.webhook.cli.shell import Shell


def made(shell: Shell, name: str, *argv: str) -> str:
    result = shell.yurt("tokens", "create", name, *argv)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def status(shell: Shell, token: str) -> int:
    return httpx.get(f"{shell.stack.url}/v1/token", headers={"authorization": f"Bearer {token}"}).status_code


def test_a_token_is_made_listed_and_revoked(shell: Shell) -> None:
    token = made(shell, "photo\u202eapp", "--scope", "upload:photos", "--scope", "read:*")
    assert status(shell, token) == 200
    [listed] = [
        row
        for row in json.loads(shell.yurt("tokens", "list", "--json").stdout)["tokens"]
        if row["name"] == "photo\u202eapp"
    ]
    assert listed["scopes"] == ["upload:photos", "read:*"]
    shown = shell.yurt("tokens", "list", COLUMNS="200").stdout
    assert "photo\\u202eapp" in shown
    assert "upload:photos read:*" in shown
    assert token[:13] in shown
    assert token not in shown
    result = shell.yurt("tokens", "revoke", str(listed["id"]))
    assert "is revoked" in result.stdout
    assert token[:13] not in shell.yurt("tokens", "list").stdout
    assert "revoked" in shell.yurt("tokens", "list", "--all", COLUMNS="200").stdout
    result = shell.yurt("tokens", "revoke", "99999")
    assert (result.returncode, "there is no token of that number" in result.stderr) == (1, True)


def test_the_answer_as_json_with_limits(shell: Shell) -> None:
    argv = ("--scope", "service:sdxl", "--expires", "never", "--rate", "2.5", "--burst", "4", "--json")
    answer = json.loads(made(shell, "app", *argv))
    assert answer["token"].startswith("yurt_app_")
    assert (answer["expires_at"], answer["calls_per_second"], answer["burst_calls"]) == (None, 2.5, 4)


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["app"], 2),
        (["app", "--scope", "upload:a", "--expires", "0s"], 2),
        (["app", "--scope", "upload:a", "--burst", "0"], 2),
        (["app", "--scope", "everything"], 1),
    ],
)
def test_a_wrong_order_is_refused(shell: Shell, argv: list[str], status: int) -> None:
    assert shell.yurt("tokens", "create", *argv).returncode == status


def test_every_kind_of_scope_is_in_the_help_and_in_the_refusal(shell: Shell) -> None:
    refusal = shell.yurt("tokens", "create", "app", "--scope", "everything").stderr
    kinds = set(re.findall(r"[a-z]+:[A-Z]+", refusal))
    assert {"upload:PIPELINE", "service:NAME", "wake:POOL"} <= kinds
    assert set(re.findall(r"[a-z]+:[A-Z]+", shell.yurt("tokens", "create", "--help").stdout)) == kinds
    for kind in kinds:
        assert made(shell, "app", "--scope", kind.lower()).startswith("yurt_app_")
