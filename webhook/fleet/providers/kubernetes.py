"""Kubernetes provider: mints workers as Jobs of a cluster, one for each machine.

The cluster's own list says what exists: a Job has the machine's label as its name, and is listed by its labels. The
cluster ends machines without the control plane too: a Job is finished when its agent leaves or after
``activeDeadlineSeconds``, and deleted with its Pod and Secret ``ttlSecondsAfterFinished`` later.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from webhook.fleet.providers import (
    BOOT_LOG_CHARACTERS,
    Instance,
    MintOrder,
    Offer,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
    ProviderRefused,
    is_own,
    require_own,
)
from webhook.fleet.providers import kubernetes_job as bodies
from webhook.fleet.providers import kubernetes_states as states
from webhook.fleet.providers.kubernetes_access import find_access
from webhook.fleet.providers.kubernetes_api import ApiError, KubernetesApi
from webhook.fleet.providers.kubernetes_check import findings
from webhook.fleet.providers.reachability import refuse_unreachable
from webhook.provider_settings import KubernetesSettings

_PLACING_SECONDS = 5.0
"""A scheduler decides on a Pod within less; one that takes longer may still find a node."""
_POLL_SECONDS = 0.2
_NO_ROOM_SECONDS = 30.0
_LOG_LINES, _LOG_BYTES = "100", "16384"
_QUOTA = re.compile(r"exceeded quota")


class KubernetesProvider:
    """Mints Jobs.

    Args:
        owner: What the labels of this installation begin with.
        settings: The cluster, and what each Pod asks for.

    """

    lag_seconds = 0.0
    """A list without a version is read from the cluster's quorum: it shows all that was written before."""
    offer_seconds = 5.0

    def __init__(self, owner: str, settings: KubernetesSettings) -> None:
        self._owner = owner
        self._settings = settings
        self._api = KubernetesApi(lambda: find_access(settings))
        self._jobs = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
        self._core = f"/api/v1/namespaces/{settings.namespace}"
        self._offer = Offer("", settings.usd_per_hour, description=f"a Job in the namespace {settings.namespace}")
        self._creating = asyncio.Lock()

    async def offers(self) -> Sequence[Offer]:
        """One offer while there is room. See `Provider.offers`."""
        return [self._offer] if await self._has_room() else []

    async def mint(self, order: MintOrder) -> str:
        """Create a Job, whose uid is the ref, and its Secret; see that a node takes its Pod. See `Provider.mint`."""
        require_own(order, self._owner)
        refuse_unreachable(self._settings, order.url)
        try:
            # One at a time counts and creates, so that no two take the last room.
            async with self._creating:
                if not await self._has_room():
                    raise ProviderBusy(f"{self._settings.machines} workers are in {self._settings.namespace}: no room")
                created = await self._api.call("POST", self._jobs, body=bodies.job(self._settings, self._owner, order))
            ref = _uid(created)
            secret = bodies.secret(order, self._owner, ref)
            await self._api.call("POST", f"{self._core}/secrets", body=secret)
        except ApiError as error:
            raise error.of_mint(order.token) from None
        await self._placed(order.label)
        return ref

    async def slay(self, instance: Instance) -> None:
        """Delete its Job, which is listed until its Pod has ended, and its Secret. See `Provider.slay`."""
        if not is_own(instance.label, self._owner):
            return
        how = {"apiVersion": "v1", "kind": "DeleteOptions"}
        await self._delete(f"{self._jobs}/{instance.label}", {**how, "propagationPolicy": "Foreground"})
        # Also where a cluster collects garbage late: from now on the token can be read by nothing.
        await self._delete(f"{self._core}/secrets/{instance.label}", how)

    async def list(self) -> Sequence[Instance]:
        """Every Job of this installation, with its Pod's state. See `Provider.list`."""
        selector = f"{bodies.OWNER}={self._owner}"
        # The Pods after the Jobs: a Job without its Pod is only taken to wait for it.
        jobs = await self._api.items(self._jobs, labelSelector=selector)
        pods = await self._api.items(f"{self._core}/pods", labelSelector=selector) if jobs else []
        shown = states.instances(jobs, pods, self._settings.node_wait_seconds)
        return [one for one in shown if is_own(one.label, self._owner)]

    async def boot_log(self, label: str) -> str:
        """Return the state and events of a machine's Pod, and the end of its log. See `Provider.boot_log`."""
        if not is_own(label, self._owner):
            return ""
        pods, events = await asyncio.gather(self._pods(label), self._events(label))
        if not pods and not events:
            return ""
        parts = [f"Job {label} in {self._settings.namespace}", *map(states.in_words, pods[-1:]), *events[-5:]]
        head = "\n".join(parts)[: BOOT_LOG_CHARACTERS * 3 // 4]
        printed = await self._printed(pods[-1]) if pods else ""
        return f"{head}\n{printed[-(BOOT_LOG_CHARACTERS - len(head) - 1) :]}".rstrip()

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether the cluster is reached, all rights are granted, and a Job would be taken. See `Provider.check`."""
        return await findings(self._api, self._settings, self._owner)

    async def aclose(self) -> None:
        """Let go of connections: Jobs go on. See `Provider.aclose`."""
        await self._api.aclose()

    async def _has_room(self) -> bool:
        most = self._settings.machines
        return most is None or sum(one.running for one in await self.list()) < most

    async def _placed(self, label: str) -> None:
        """Wait until a node has taken the Pod, or a while. Where none will, take the Job back and raise."""
        fate: ProviderError | bool | None = None
        # A call that fails here changes nothing: the Job was accepted.
        with contextlib.suppress(TimeoutError, ApiError):
            async with asyncio.timeout(_PLACING_SECONDS):
                while (fate := await self._fate(label)) is None:  # noqa: ASYNC110 - the cluster decides
                    await asyncio.sleep(_POLL_SECONDS)
        if isinstance(fate, ProviderError):
            with contextlib.suppress(ProviderError):  # it is listed, and slain at the next turn
                await self.slay(Instance(label, ""))
            raise fate

    async def _fate(self, label: str) -> ProviderError | bool | None:
        """True: the Pod has a node, or may wait for one; an error: it gets none; None: that is not decided."""
        if not (pods := await self._pods(label)):
            return next((error for text in await self._events(label) if (error := _refusal(text))), None)
        if states.is_placed(pods[-1]):
            return True
        if not (why := states.unschedulable(pods[-1])):
            return None
        if self._settings.node_wait_seconds:
            return True
        return ProviderBusy(f"no node has room: {why}", retry_seconds=_NO_ROOM_SECONDS)

    async def _pods(self, label: str) -> Sequence[Mapping[str, Any]]:
        """The Pods of one machine, oldest first: one, but where a node has lost it."""
        found = await self._api.items(f"{self._core}/pods", labelSelector=f"{bodies.LABEL}={label}")
        return sorted(found, key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp")))

    async def _events(self, label: str) -> Sequence[str]:
        """What went wrong with a Job and its Pods, in the cluster's words, oldest first."""
        found = await self._api.items(f"{self._core}/events", fieldSelector="type=Warning")
        mine = [one for one in found if _is_about(one, label)]
        mine.sort(key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
        return [f"{one.get('reason')}: {' '.join(str(one.get('message')).split())[:300]}" for one in mine]

    async def _printed(self, pod: Mapping[str, Any]) -> str:
        """The end of a container's log. Empty where it has not started."""
        path = f"{self._core}/pods/{pod['metadata']['name']}/log"
        query = {"container": bodies.CONTAINER, "tailLines": _LOG_LINES, "limitBytes": _LOG_BYTES}
        with contextlib.suppress(ApiError):
            return (await self._api.text(path, query)).strip()
        return ""

    async def _delete(self, path: str, how: Mapping[str, Any]) -> None:
        try:
            await self._api.call("DELETE", path, body=how)
        except ApiError as error:
            if error.status != 404:
                raise


def _uid(created: Mapping[str, Any]) -> str:
    uid = (created.get("metadata") or {}).get("uid")
    if not isinstance(uid, str) or not uid:
        raise ProviderError("the Kubernetes API created a Job without a uid")
    return uid


def _is_about(event: Mapping[str, Any], label: str) -> bool:
    name = str((event.get("involvedObject") or {}).get("name"))
    return name == label or name.startswith(f"{label}-")


def _refusal(event: str) -> ProviderError | None:
    """Why a Job gets no Pod: a quota is no room; what a policy forbids stays forbidden."""
    if not event.startswith("FailedCreate:"):
        return None
    if _QUOTA.search(event):
        hint = "raise the namespace's ResourceQuota, or lower the pool's limit"
        return ProviderBusy(event, retry_seconds=_NO_ROOM_SECONDS, hint=hint)
    hint = "a policy or LimitRange of the namespace forbids this Pod: change it, or the settings"
    return ProviderRefused(event, hint=hint)
