"""``yurt status`` against a running control plane."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import httpx
from rich.console import Console

from tests.webhook.cli.shell import Shell
from webhook.cli.status import render


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


PHASES = {"work": "0.5", "boot": "0.25"}
MONEY = {
    "spent_today_usd": "0.75",
    "today_usd": PHASES,
    "budget_usd_per_day": "2.5",
    "usd_per_hour": "0.3",
    "not_minted": "",
}


def shown(pools: dict[str, dict[str, Any]], **more: object) -> str:
    """The text of a status with these pools."""
    standing = {"limit": 1, "minted": 0, "slain": 0, "breaker": "closed", "frozen": False, "last_failure": ""}
    status: dict[str, Any] = {
        "pipelines": {}, "unrouted": {}, "providers": {}, "parked": [], "quarantined": 0, "unaccounted": {}, **more,
        "pools": {name: {**standing, "machines": {}, **pool} for name, pool in pools.items()},
    }  # fmt: skip
    file = io.StringIO()
    Console(width=160, file=file).print(render(status))
    return file.getvalue()


def test_what_pools_spend_is_shown_with_the_sum_and_why_nothing_is_minted() -> None:
    text = shown(
        {"a": {**MONEY, "not_minted": "the budget of the day is spent"}, "b": {**MONEY, "budget_usd_per_day": None}},
        spent_today_usd="1.5",
        budget_usd_per_day="9",
    )
    rows = [line.split() for line in text.splitlines()]
    assert ["a", "0.5000", "0.0000", "0.0000", "0.2500", "0.0000", "0.7500", "2.50", "0.3000"] in rows
    assert ["b", "0.5000", "0.0000", "0.0000", "0.2500", "0.0000", "0.7500", "–", "0.3000"] in rows
    assert ["all", "pools", "1.0000", "0.0000", "0.0000", "0.5000", "0.0000", "1.5000", "9.00", "0.6000"] in rows
    assert "pool a: nothing is minted: the budget of the day is spent (0.75 of 2.5 US dollars spent today)" in text


def test_what_a_result_costs_is_shown() -> None:
    pipeline = {"objects": {}, "events": {}, "oldest_due_seconds": 0, "refused": ""}
    paid = {**pipeline, "results_today": 4, "work_today_usd": "0.5", "usd_per_result": "0.125"}
    failed = {**pipeline, "results_today": 0, "work_today_usd": "0.25", "usd_per_result": None}
    text = shown({"a": MONEY}, pipelines={"photos": paid, "videos": failed, "free": pipeline})
    rows = [line.split() for line in text.splitlines()]
    assert ["photos", "4", "0.5000", "0.125000"] in rows
    assert ["videos", "0", "0.2500", "–"] in rows
    assert sum(row[:1] == ["free"] for row in rows) == 1, "among the pipelines alone"


def test_where_nothing_costs_anything_no_money_is_shown() -> None:
    assert "Money" not in shown({"a": {}})
    assert "Results today" not in shown({"a": {}})


def test_machines_minted_ahead_of_the_work_are_shown_with_their_reason_use_and_cost() -> None:
    ahead = {"wake": {"present": 1, "minted": 7, "helped": 5, "usd": "0.4567"}}
    text = shown({"a": {**MONEY, "ahead": ahead}, "b": MONEY})
    [line] = [line.split() for line in text.splitlines() if "wake" in line]
    assert line == ["a", "wake", "1", "7", "5", "0.4567"]
    assert "ahead" not in shown({"b": MONEY})


def test_services_are_shown_with_their_requests() -> None:
    assert "Services" not in shown({})
    load = {"waiting": 3, "in_flight": 2, "machines": {"ready": 1, "failing": 2}}
    text = shown({}, services={"sdxl": load})
    assert re.search(r"sdxl +. 1 ready, 2 failing +. +3 . +2", text), text
