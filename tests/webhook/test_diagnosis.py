"""Each reason why nothing moves is found from a status, with advice."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.diagnosis import diagnose
from webhook.fleet.strangers import CONTESTED


def status(**more: Any) -> dict[str, Any]:
    """A status without a found."""
    return {
        "pipelines": {"photos": pipeline()},
        "pools": {"local": pool()},
        "providers": {"local": {"list_failures": 0, "unknown_slain": 0, "last_error": ""}},
        "senders": {"tigris": sender(taken=5)},
        "quarantined": 0,
        "unaccounted": {"events": 0, "changes": 0},
        **more,
    }


def pipeline(objects: dict[str, int] | None = None, due: float = 0, refused: str = "") -> dict[str, Any]:
    return {"pool": "local", "objects": objects or {}, "oldest_due_seconds": due, "refused": refused}


def pool(**more: Any) -> dict[str, Any]:
    ready = {"limit": 20, "machines": {"ready": 1}, "minted_by": "local", "breaker": "closed", "frozen": False}
    return {**ready, "last_failure": "", "last_boot_log": "", **more}


def sender(taken: float | None = None, refused: float | None = None, error: str = "unauthorized") -> dict[str, Any]:
    message = "the Authorization header is missing"
    return {"taken_seconds": taken, "refused": 3, "refused_seconds": refused, "error": error, "message": message}


SPENT = {"spent_today_usd": "2.5", "budget_usd_per_day": "2.5"}
WAITING = {"photos": pipeline({"pending": 4}, due=300)}


@pytest.mark.parametrize(
    "quiet",
    [
        status(),
        status(senders={"tigris": sender(taken=1, refused=2)}),  # taken since: a thing of the past
        status(pipelines={"photos": pipeline({"pending": 4}, due=2)}),
        status(pipelines={"photos": pipeline({"pending": 4, "leased": 1}, due=300)}),
        status(senders={}),
    ],
)
def test_where_all_goes_well_nothing_is_said(quiet: dict[str, Any]) -> None:
    assert not [*diagnose(quiet)]


@pytest.mark.parametrize(
    ("bad", "subject", "says", "advises"),
    [
        (
            status(pools={"local": pool(not_minted="the budget of the day is spent", **SPENT)}),
            "pool local",
            "nothing is minted: the budget of the day is spent (2.5 of 2.5 US dollars spent today)",
            "wait until midnight UTC",
        ),
        (status(pools={"local": pool(not_minted="home: no room")}), "pool local", "no room", "yurt offers local"),
        (
            status(pools={"local": pool(not_minted="a: dearer than max_usd_per_hour (1); b: no room")}),
            "pool local",
            "dearer",
            "Raise max_usd_per_hour",
        ),
        (
            status(pools={"local": pool(not_minted="a: makes no offer: the key is refused")}),
            "pool local",
            "key",
            "yurt check",
        ),
        (status(pools={"local": pool(not_minted="a: did not boot within the last day")}), "pool local", "", "a day"),
        (
            status(pools={"local": pool(not_minted="a: machines did not start there")}),
            "pool local",
            "",
            "machines logs",
        ),
        (
            status(pools={"local": pool(not_minted="a: its list of machines fails or cannot be true")}),
            "pool local",
            "",
            "yurt check",
        ),
        (
            status(providers={"gpus": {"strangers": 3, "stranger": "yurt-a-99999999000000000000"}}),
            "provider gpus",
            'another installation named "yurt" rents 3 machines there, yurt-a-99999999000000000000 for one',
            "another server.name",
        ),
        (
            status(pools={"local": pool(not_minted=f"a: {CONTESTED}")}),
            "pool local",
            "another installation",
            "said of the provider",
        ),
        (status(pools={"local": pool(not_minted="a: is busy")}), "pool local", "", "by itself"),
        (
            status(pools={"local": pool(not_minted="a: used up; asked again at 00:00 UTC")}),
            "pool local",
            "a: used up; asked again at 00:00 UTC",
            "other providers meanwhile",
        ),
        (status(senders={"tigris": sender(refused=2)}), "source tigris", "3 so far", "yurt setup --yes"),
        (status(senders={"s3": sender(taken=9, refused=2, error="too-large")}), "source s3", "", "body_limit_bytes"),
        (status(senders={"s3": sender(refused=2, error="new-code")}), "source s3", "", "log of the control plane"),
        (status(pipelines={"photos": pipeline(refused="no conditions")}), "pipeline photos", "no conditions", "check"),
        (
            status(pools={"local": pool(breaker="open", last_failure="late")}),
            "pool local",
            "The last: late",
            "public_url",
        ),
        (status(pools={"local": pool(breaker="probing")}), "pool local", "one machine is tried", "public_url"),
        (status(pools={"local": pool(frozen=True)}), "pool local", "frozen", "provider's access"),
        (status(pipelines=WAITING), "pipeline photos", "4 wait, the oldest for 300 s", "take nothing"),
        (status(pipelines=WAITING, pools={"local": pool(machines={"booting": 1})}), "photos", "", "not called home"),
        (
            status(pipelines=WAITING, pools={"local": pool(machines={}, limit=0)}),
            "photos",
            "",
            "pools.local.limit is 0",
        ),
        (status(pipelines=WAITING, pools={"local": pool(machines={}, minted_by=None)}), "photos", "", "yurt invite"),
        (status(pipelines=WAITING, pools={"local": pool(machines={})}), "photos", "", "one replica lead"),
        (status(pipelines={"photos": pipeline({"parked": 2})}), "parked", "2 of photos", "yurt parked list"),
        (
            status(failing_loops=[{"loop": "leases", "error": "disk full", "seconds": 70}]),
            "control plane",
            "leases fails since 70 s: disk full",
            "by itself",
        ),
        (status(quarantined=7), "quarantine", "7 events", "yurt quarantine list"),
        (status(unaccounted={"events": 1, "changes": 0}), "counts", "{'events': 1}", "report it"),
    ],
)
def test_each_problem_has_a_sentence_and_advice(bad: dict[str, Any], subject: str, says: str, advises: str) -> None:
    [found] = diagnose(bad)
    assert subject in found.subject
    assert says in found.sentence
    assert advises in found.advice


def test_the_end_of_the_last_boots_log_is_shown() -> None:
    log = "/state/workers/logs/a.log\nConnection refused"
    [found] = diagnose(status(pools={"local": pool(breaker="open", last_failure="boot-timeout", last_boot_log=log)}))
    assert found.detail == log
    assert "follows" in found.advice
    assert not found.warning


def test_workers_without_a_jail_are_a_warning() -> None:
    [found] = diagnose(status(pools={"local": pool(unjailed={"workers": 2, "why": "a jail needs Linux"})}))
    assert found.subject == "pool local"
    assert found.sentence == "2 of its workers run handlers without a jail: a jail needs Linux"
    assert "docs/sandbox.md" in found.advice
    assert found.warning
