"""``yurt page`` against a running control plane."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.webhook.cli.shell import Shell


def test_a_printed_link_signs_in_once(shell: Shell) -> None:
    result = shell.yurt("page")
    assert result.returncode == 0, result.stderr
    address, _, code = result.stdout.strip().partition("#")
    assert address == f"{shell.stack.url}/enter"
    used = [httpx.post(address, data={"code": code}, headers={"origin": shell.stack.url}).status_code for _ in range(2)]
    assert used == [303, 401]


def test_as_json(shell: Shell) -> None:
    link = json.loads(shell.yurt("page", "--json", "--expires", "90s").stdout)
    assert set(link) == {"url", "expires_at"}


@pytest.mark.parametrize("expires", ["0s", "2d", "soon"])
def test_a_wrong_length_of_time_is_refused(shell: Shell, expires: str) -> None:
    assert shell.yurt("page", "--expires", expires).returncode == 2
