"""A namespace of a real API server, whose scheduler, kubelet, Job controller and garbage collector are played here.

Each Pod is a local process with the environment that the Pod would have. ``node`` says what becomes of new Pods.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import httpx

from tests.polling import until
from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.kube_apiserver import CONTROL_PLANE, KubeApiServer, manifest, path_of
from tests.webhook.fleet.providers.local_place import STUB
from webhook.fleet.providers import Instance
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.provider_settings import KubernetesSettings

IMAGE = "registry.example.com/you/yurt:0.2"
Node = Literal["runs", "full", "cannot-pull", "quota", "limit-range", "busy"]
"""``runs``: it takes Pods; ``full``: none takes them; ``busy``: nothing is decided."""


@dataclass
class KubePlace:
    server: KubeApiServer
    namespace: str
    folder: Path
    admin: httpx.AsyncClient
    node: Node = "runs"
    settings: dict[str, Any] = field(default_factory=dict)
    user: str = CONTROL_PLANE
    made: list[KubernetesProvider] = field(default_factory=list)

    def provider(self, owner: str = OWNER) -> KubernetesProvider:
        environment = {"STUB_FOLDER": str(self.folder), "STUB_DEEDS": "undying"}
        fields = {
            "kind": "kubernetes",
            "kubeconfig": str(self.server.kubeconfig(self.user)),
            "namespace": self.namespace,
            "image": IMAGE,
            "environment": environment,
        }
        settings = KubernetesSettings.model_validate({**fields, **self.settings})
        self.made.append(KubernetesProvider(owner, settings))
        return self.made[-1]

    async def started(self, label: str) -> dict[str, Any]:
        """What the worker wrote down about itself, once it has."""
        path = self.folder / f"{label}.json"
        await until(path.exists)
        return cast("dict[str, Any]", json.loads(path.read_text()))

    async def environment(self, label: str) -> Mapping[str, str]:
        return cast("Mapping[str, str]", (await self.started(label))["environment"])

    async def argv(self, label: str) -> Sequence[str]:
        """The worker's command line, and all that the Pod's description shows to a reader."""
        start = await self.started(label)
        return [*start["argv"], json.dumps(await self.of("jobs", label)), json.dumps(await self.of("pods", label))]

    async def exists(self, label: str) -> bool:
        return bool(await self.of("jobs", label) or await self.of("pods", label) or await self.of("secrets", label))

    async def kill(self, instance: Instance) -> None:
        os.kill((await self.started(instance.label))["pid"], signal.SIGKILL)

    async def of(self, resource: str, label: str = "") -> list[dict[str, Any]]:
        """Objects of a machine, or of all."""
        answer = await self.admin.get(
            self.path(resource), params={"labelSelector": f"yurt.label={label}"} if label else {}
        )
        return cast("list[dict[str, Any]]", answer.raise_for_status().json()["items"])

    def path(self, resource: str, name: str = "") -> str:
        root = "/apis/batch/v1" if resource == "jobs" else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    async def create(self, thing: dict[str, Any]) -> httpx.Response:
        return await self.admin.post(path_of(thing), json=thing)


class PretendCluster:
    """Plays all that acts on Jobs and Pods."""

    def __init__(self, place: KubePlace) -> None:
        self._place = place
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._over = asyncio.Event()

    async def run(self) -> None:
        while not self._over.is_set():
            # A conflict, or an object that went meanwhile: looked at again.
            with contextlib.suppress(httpx.HTTPStatusError):
                await self._turn()
            await asyncio.sleep(0.02)

    async def end(self, acting: asyncio.Task[None]) -> None:
        self._over.set()
        await acting
        for process in self._processes.values():
            process.kill()
            process.wait()

    async def _turn(self) -> None:
        pods = {pod["metadata"]["labels"]["yurt.label"]: pod for pod in await self._place.of("pods")}
        for job in await self._place.of("jobs"):
            label = job["metadata"]["name"]
            if job["metadata"].get("deletionTimestamp"):
                await self._collect(label, pods.get(label))
            elif label not in pods and not job.get("status"):
                await self._create_pod(job)
            elif label in pods:
                await self._look(job, pods[label])

    async def _create_pod(self, job: dict[str, Any]) -> None:
        if self._place.node in ("quota", "limit-range"):
            await self._event(job)
            return
        about = job["metadata"]
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": about["name"],
            "uid": about["uid"],
            "controller": True,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", **deepcopy(job["spec"]["template"])}
        pod["metadata"] |= {
            "name": f"{about['name']}-abcde",
            "namespace": about["namespace"],
            "ownerReferences": [owner],
        }
        pod["metadata"].pop("creationTimestamp", None)
        (await self._place.create(pod)).raise_for_status()

    async def _event(self, job: dict[str, Any]) -> None:
        said = {
            "quota": 'Error creating: pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1',
            "limit-range": 'Error creating: pods "p" is forbidden: minimum memory usage per Container is 1Gi',
        }
        about = {"name": job["metadata"]["name"], "namespace": self._place.namespace}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {**about, "name": f"{about['name']}.1"},
            "involvedObject": {"kind": "Job", **about},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": said[self._place.node],
        }
        await self._place.create(event)

    async def _look(self, job: dict[str, Any], pod: dict[str, Any]) -> None:
        """Schedule a Pod, start it, and note its end."""
        label, status = job["metadata"]["name"], pod["status"]
        if status["phase"] in ("Succeeded", "Failed"):
            if not job["status"].get("conditions"):
                kind = {"Succeeded": "Complete", "Failed": "Failed"}[status["phase"]]
                await self._set_job(label, {"type": kind, "status": "True", "reason": "BackoffLimitExceeded"})
        elif label in self._processes:
            if (code := self._processes[label].poll()) is not None:
                ended = {"terminated": {"exitCode": code & 255, "reason": "Error" if code else "Completed"}}
                await self._set_pod(pod, "Failed" if code else "Succeeded", ended)
        elif self._place.node == "full":
            if "conditions" not in status:
                said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
                unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
                await self._patch(pod, {"phase": "Pending", "conditions": [unplaced]})
        elif self._place.node != "busy":
            await self._start(label, pod)

    async def _start(self, label: str, pod: dict[str, Any]) -> None:
        if not pod["spec"].get("nodeName"):
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
            node = {"target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"}}
            path = self._place.path("pods", pod["metadata"]["name"])
            (await self._place.admin.post(f"{path}/binding", json={**binding, **node})).raise_for_status()
        if self._place.node == "cannot-pull":
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{IMAGE}"'}
            await self._set_pod(pod, "Pending", {"waiting": waiting})
        elif (environment := await self._environment(label, pod)) is None:
            waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{label}" not found'}
            await self._set_pod(pod, "Pending", {"waiting": waiting})
        else:
            arguments = pod["spec"]["containers"][0]["args"]
            output = (self._place.folder / f"{label}.log").open("wb")
            self._processes[label] = subprocess.Popen(
                [*STUB, *arguments], env=environment, stdout=output, stderr=output
            )
            output.close()
            await self._set_pod(pod, "Running", {"running": {}})

    async def _environment(self, label: str, pod: dict[str, Any]) -> dict[str, str] | None:
        """As the kubelet makes it; None while a Secret is missing."""
        made = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[4])}
        for variable in pod["spec"]["containers"][0]["env"]:
            if "value" in variable:
                made[variable["name"]] = re.sub(r"\$\$", "$", variable["value"])
                continue
            wanted = variable["valueFrom"]["secretKeyRef"]
            answer = await self._place.admin.get(self._place.path("secrets", wanted["name"]))
            if answer.status_code == 404:
                return None
            made[variable["name"]] = base64.b64decode(answer.json()["data"][wanted["key"]]).decode()
        return made

    async def _collect(self, label: str, pod: dict[str, Any] | None) -> None:
        """End the process, then delete what the Job owns, and at last the Job."""
        if process := self._processes.pop(label, None):
            process.terminate()
            await asyncio.to_thread(process.wait)
        if pod:
            path = self._place.path("pods", pod["metadata"]["name"])
            await self._place.admin.request("DELETE", path, json={"gracePeriodSeconds": 0})
        await self._place.admin.delete(self._place.path("secrets", label))
        await self._merge(self._place.path("jobs", label), {"metadata": {"finalizers": None}})

    async def _set_pod(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        about = {"name": "worker", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0, "state": state}
        placed = {"type": "PodScheduled", "status": "True"}
        await self._patch(pod, {"phase": phase, "conditions": [placed], "containerStatuses": [about]})

    async def _patch(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        await self._merge(f"{self._place.path('pods', pod['metadata']['name'])}/status", {"status": status})

    async def _set_job(self, label: str, condition: dict[str, Any]) -> None:
        await self._merge(f"{self._place.path('jobs', label)}/status", {"status": {"conditions": [condition]}})

    async def _merge(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        (await self._place.admin.patch(path, content=json.dumps(body), headers=headers)).raise_for_status()


@asynccontextmanager
async def kube_place(server: KubeApiServer, folder: Path, **options: Any) -> AsyncIterator[KubePlace]:
    """A namespace of its own with the manifest's Role, left without processes."""
    namespace = f"w{os.urandom(6).hex()}"
    async with server.admin() as admin:
        place = KubePlace(server, namespace, folder, admin, **options)
        for thing in manifest():
            if thing["metadata"].get("namespace") == "yurt-workers":
                thing["metadata"]["namespace"] = namespace
            elif thing["metadata"]["name"] == "yurt-workers":
                thing["metadata"]["name"] = namespace
            else:
                continue
            (await place.create(thing)).raise_for_status()
        cluster = PretendCluster(place)
        acting = asyncio.create_task(cluster.run())
        try:
            yield place
        finally:
            await cluster.end(acting)
            for provider in place.made:
                await provider.aclose()
