"""``yurt doctor`` against a running control plane, and without one."""

from __future__ import annotations

import json
import re

import httpx

from tests.polling import wait_until
from tests.webhook.cli.shell import Shell


def notify(shell: Shell, secret: str) -> int:
    url = f"{shell.stack.url}/v1/notifications/s3"
    return httpx.post(url, json={"Records": []}, headers={"authorization": f"Bearer {secret}"}).status_code


def subjects(shell: Shell) -> list[str]:
    return [problem["subject"] for problem in json.loads(shell.yurt("doctor", "--json").stdout)["problems"]]


def test_refused_notifications_are_told_until_one_is_taken(shell: Shell) -> None:
    assert notify(shell, "the secret of another bucket") == 401
    wait_until(lambda: "notifications of source s3" in subjects(shell))
    result = shell.yurt("doctor")
    assert result.returncode == 1
    assert "none of YURT_WEBHOOK_SECRETS" in " ".join(result.stdout.split())
    assert "another bucket" not in result.stdout
    assert "notifications of source s3" in shell.yurt("status").stdout
    assert "notifications of source s3" in " ".join(shell.yurt("check").stdout.split())
    assert notify(shell, shell.stack.keys.webhook) == 200
    wait_until(lambda: "notifications of source s3" not in subjects(shell))


def test_a_worker_without_a_jail_is_a_warning_that_fails_nothing(shell: Shell) -> None:
    token = re.findall(r"YURT_TOKEN=(\S+)", shell.yurt("invite").stdout)[0]

    def call_home(why: str) -> None:
        hello = {"instance": "instance-of-a-test", "unjailed": why}
        url, headers = f"{shell.stack.url}/v1/workers/hello", {"authorization": f"Bearer {token}"}
        assert httpx.post(url, json=hello, headers=headers).status_code == 200

    call_home("an old \x1b[2Jkernel")
    result = shell.yurt("doctor", "--json")
    problems = json.loads(result.stdout)["problems"]
    [unjailed] = [problem for problem in problems if "an old" in problem["sentence"]]
    assert unjailed["warning"]
    # Of files that other tests left, some may wait: these alone fail it.
    assert result.returncode == any(not problem["warning"] for problem in problems)
    assert "an old \\x1b[2Jkernel" in shell.yurt("doctor").stdout
    assert "without a jail: an old \\x1b[2Jkernel" in " ".join(shell.yurt("status").stdout.split())
    call_home("")
    assert "pool local" not in subjects(shell)


def test_without_a_control_plane_it_says_what_to_look_at(shell: Shell) -> None:
    result = shell.yurt("doctor", YURT_URL="http://127.0.0.1:1")
    assert result.returncode == 1
    assert "See the log of `yurt serve`" in " ".join(result.stdout.split())
