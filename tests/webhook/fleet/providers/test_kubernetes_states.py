"""What Jobs and Pods say about a machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhook.fleet.providers import ProviderError
from webhook.fleet.providers.kubernetes_states import instances, unschedulable


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "yurt-a", "uid": "u"}, "status": status}


def pod(age_seconds: float = 0, **status: Any) -> dict[str, Any]:
    created = datetime.now(UTC) - timedelta(seconds=age_seconds)
    about = {"labels": {"yurt.label": "yurt-a"}, "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"metadata": about, "status": {"phase": "Pending", **status}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


UNPLACED: dict[str, Any] = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]
}


def state(job: dict[str, Any], *pods: dict[str, Any], wait_seconds: float = 0) -> tuple[bool, str]:
    [shown] = instances([job], pods, wait_seconds)
    return shown.running, shown.status


def test_a_job_that_has_ended_does_not_run() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    assert state(job(conditions=[failed])) == (False, "DeadlineExceeded (deadline_seconds has passed)")
    assert state(job(conditions=[{"type": "Complete", "status": "True"}])) == (False, "Complete")
    # It waits for what holds up its end.
    assert state(job(conditions=[{"type": "Failed", "status": "False"}]))[0]


def test_a_job_without_a_pod_will_run() -> None:
    assert state(job()) == (True, "waits for its Pod")


def test_a_container_that_was_killed_for_its_memory_says_so() -> None:
    killed: dict[str, Any] = {
        "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]
    }
    running, status = state(job(), pod(phase="Failed", **killed))
    assert not running
    assert status.startswith("Failed, OOMKilled: exit status 137 (raise limits.memory")


@pytest.mark.parametrize(
    ("reason", "running"),
    [
        ("ContainerCreating", True),
        ("ImagePullBackOff", True),
        ("CreateContainerConfigError", True),
        ("InvalidImageName", False),
    ],
)
def test_only_what_never_gets_well_is_given_up_at_once(reason: str, running: bool) -> None:
    assert state(job(), pod(**waiting(reason, "why\nso")))[0] is running


def test_a_pod_without_a_node_is_given_up_after_the_wait() -> None:
    assert state(job(), pod(**UNPLACED))[0]
    assert not state(job(), pod(60, **UNPLACED))[0]
    assert state(job(), pod(60, **UNPLACED), wait_seconds=120)[0]


def test_a_pod_for_which_a_node_is_being_cleared_finds_room() -> None:
    assert unschedulable(pod(**UNPLACED)) == "0/3"
    assert unschedulable(pod(**UNPLACED, nominatedNodeName="node-1")) == ""


def test_of_several_pods_the_newest_counts() -> None:
    assert state(job(), pod(10, phase="Running"), pod(90, phase="Failed"))[0]


def test_another_form_is_an_error() -> None:
    with pytest.raises(ProviderError, match="unknown form"):
        instances([{"metadata": {}}], [], 0)
    with pytest.raises(ProviderError, match="unknown form"):
        instances([job()], [{"metadata": {"creationTimestamp": None}}], 0)
