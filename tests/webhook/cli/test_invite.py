"""``yurt invite`` against a running control plane."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.webhook.cli.shell import Shell


def test_an_invitation_is_good_for_one_worker(shell: Shell) -> None:
    result = shell.yurt("invite")
    assert result.returncode == 0, result.stderr
    token = re.findall(r"^export YURT_TOKEN=(\S+)$", result.stdout, re.MULTILINE)[0]
    hello = f"{shell.stack.url}/v1/workers/hello"
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.post(hello, json={"instance": "a" * 16}, headers=headers).status_code == 200
    assert httpx.post(hello, json={"instance": "b" * 16}, headers=headers).status_code == 401


def test_invite_to_an_unknown_pool_names_the_pools(shell: Shell) -> None:
    result = shell.yurt("invite", "--pool", "gpu")
    assert result.returncode == 1
    assert "there are: local" in result.stderr


def test_an_invitation_for_several_without_end(shell: Shell) -> None:
    result = shell.yurt("invite", "--uses", "2", "--expires", "never")
    assert result.returncode == 0, result.stderr
    token = re.findall(r"^export YURT_TOKEN=(\S+)$", result.stdout, re.MULTILINE)[0]
    hello, headers = f"{shell.stack.url}/v1/workers/hello", {"authorization": f"Bearer {token}"}
    used_up = [httpx.post(hello, json={"instance": letter * 16}, headers=headers).status_code for letter in "ab"]
    # Another test may have taken the pool's last place.
    assert used_up[0] == 200
    assert used_up[1] in (200, 409)


@pytest.mark.parametrize("argv", [("--uses", "0"), ("--uses", "-1"), ("--uses", "many"), ("--expires", "0s")])
def test_a_wrong_number_is_refused(shell: Shell, argv: tuple[str, str]) -> None:
    assert shell.yurt("invite", *argv).returncode == 2
