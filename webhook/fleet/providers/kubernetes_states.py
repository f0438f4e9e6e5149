"""Reads the state of a machine from its Job and its Pod: whether it runs or will, and why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from webhook.fleet.providers import Instance, ProviderError
from webhook.fleet.providers.kubernetes_job import LABEL

_ENDED_PHASES = frozenset({"Succeeded", "Failed"})
_NEVER_WELL = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons for which a container waits in vain. A failed pull may succeed later: the boot deadline ends that."""
_STATUS_CHARACTERS = 300
_GRACE_SECONDS = 10.0
"""The minting call takes a Pod back that finds no room. A later list gives it up where that call was lost."""
_HINTS = {
    "InvalidImageName": "image is no reference of an image",
    "ErrImagePull": "is the image there, and do image_pull_secrets let the node pull it?",
    "ImagePullBackOff": "is the image there, and do image_pull_secrets let the node pull it?",
    "CreateContainerConfigError": "the Pod's Secret, user or volume is missing: see the message",
    "CreateContainerError": "the node cannot make the container: see the message",
    "OOMKilled": "raise limits.memory, or lower the pool's slots",
    "Evicted": "the node ran short of memory or disk: raise requests, or work_gb",
    "DeadlineExceeded": "deadline_seconds has passed",
    "Unschedulable": "no node has room: see requests, node_selector and tolerations",
}


def instances(
    jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], wait_seconds: float
) -> list[Instance]:
    """Join Jobs with their Pods. Raises ProviderError where one is not of the form that Kubernetes gives it.

    A Pod that no node has room for is given up after ``wait_seconds``.
    """
    try:
        newest: dict[str, Mapping[str, Any]] = {}
        for pod in sorted(pods, key=lambda one: one["metadata"]["creationTimestamp"]):
            newest[pod["metadata"]["labels"][LABEL]] = pod
        return [_instance(job, newest.get(job["metadata"]["name"]), wait_seconds) for job in jobs]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ProviderError("the Kubernetes API lists Jobs or Pods in an unknown form") from None


def unschedulable(pod: Mapping[str, Any]) -> str:
    """Why no node takes a Pod, in the scheduler's words. Empty: one does, or the scheduler has not decided yet."""
    status = pod.get("status") or {}
    # A node is being cleared for it.
    if status.get("nominatedNodeName"):
        return ""
    condition = _condition(status, "PodScheduled")
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return str(condition.get("message") or "no node has room")
    return ""


def is_placed(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod has its node."""
    return bool((pod.get("spec") or {}).get("nodeName"))


def in_words(pod: Mapping[str, Any]) -> str:
    """The state of a Pod with its reason, message and what to do."""
    reason, message = _reason(pod)
    phase = str((pod.get("status") or {}).get("phase") or "Unknown")
    said = ": ".join(part for part in (reason, message) if part)
    text = f"{phase}, {said}" if said else phase
    hint = _HINTS.get(reason)
    return f"{text[:_STATUS_CHARACTERS]} ({hint})" if hint else text[:_STATUS_CHARACTERS]


def _instance(job: Mapping[str, Any], pod: Mapping[str, Any] | None, wait_seconds: float) -> Instance:
    about = job["metadata"]
    running, status = _state(job, pod, wait_seconds)
    return Instance(about["name"], about["uid"], running, status=status)


def _state(job: Mapping[str, Any], pod: Mapping[str, Any] | None, wait_seconds: float) -> tuple[bool, str]:
    if job["metadata"].get("deletionTimestamp"):
        return False, "being deleted"
    for kind in ("Failed", "Complete"):
        if (condition := _condition(job.get("status") or {}, kind)).get("status") == "True":
            return False, _of_ended(kind, condition, pod)
    if pod is None:
        return True, "waits for its Pod"
    phase = (pod.get("status") or {}).get("phase")
    gave_up = bool(unschedulable(pod)) and _age_seconds(pod) > wait_seconds + _GRACE_SECONDS
    return phase not in _ENDED_PHASES and _reason(pod)[0] not in _NEVER_WELL and not gave_up, in_words(pod)


def _of_ended(kind: str, condition: Mapping[str, Any], pod: Mapping[str, Any] | None) -> str:
    said = str(condition.get("reason") or kind)
    hint = f" ({_HINTS[said]})" if said in _HINTS else ""
    return f"{said}{hint}; Pod: {in_words(pod)}" if pod else said + hint


def _reason(pod: Mapping[str, Any]) -> tuple[str, str]:
    """The most telling reason and message: of the container, of the Pod, or of the scheduler."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if found := state.get("waiting") or state.get("terminated"):
            return str(found.get("reason") or ""), _one_line(found.get("message") or _exit(found))
    if status.get("reason"):
        return str(status["reason"]), _one_line(status.get("message") or "")
    message = unschedulable(pod)
    return ("Unschedulable", _one_line(message)) if message else ("", "")


def _exit(state: Mapping[str, Any]) -> str:
    return f"exit status {state['exitCode']}" if "exitCode" in state else ""


def _one_line(text: object) -> str:
    return re.sub(r"\s+", " ", str(text)).strip()


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found = (one for one in status.get("conditions") or () if one.get("type") == kind)
    return next(found, {})


def _age_seconds(pod: Mapping[str, Any]) -> float:
    """Since a Pod was created, by the cluster's clock and this machine's."""
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
    return (datetime.now(UTC) - created).total_seconds()
