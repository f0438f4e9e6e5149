"""A Kubernetes API that does what a real one is hard to bring to: lost answers, hangs, pages that expire.

It keeps Jobs, Pods and Secrets. Each Job's Pod has a node and runs at once, unless ``pods`` says otherwise. Requests
that the provider has no reason to make are refused, and fail the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.fake_api import ApiRequest, FakeApi, Reply, Wrong, expect
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.provider_settings import KubernetesSettings

JOBS = "/apis/batch/v1/namespaces/yurt-workers/jobs"
CORE = "/api/v1/namespaces/yurt-workers"


class FakeKubeApi(FakeApi):
    """Answers like the API server, a page of ``page`` items at a time."""

    page = 250

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Any] = {}
        self.secrets: dict[str, Any] = {}
        self.pages_read = 0
        self.expire_at: set[int] = set()
        """Numbers of pages that answer 410."""
        self.endless = False
        self.pods: dict[str, Any] = {}
        """Statuses of Pods that do not simply run, by the Job's name."""
        self.lingers = False
        """Jobs that are deleted are listed as being deleted, until it is False again."""

    def living(self) -> list[str]:
        """Names of the Jobs whose Pods were not ended."""
        return [name for name, job in self.jobs.items() if "deletionTimestamp" not in job["metadata"]]

    def handle(self, request: ApiRequest) -> Reply:
        if request.path == "/version":
            return Reply(200, {"gitVersion": "v1.30.0"})
        if request.path.endswith("/selfsubjectaccessreviews"):
            return Reply(201, {"status": {"allowed": True}})
        resource, _, name = request.path.removeprefix(JOBS.removesuffix("jobs")).removeprefix(f"{CORE}/").partition("/")
        if name.endswith("/log"):
            return Reply(200, text="it printed this")
        if request.method == "GET":
            return self._page(resource, request)
        kept = {"jobs": self.jobs, "secrets": self.secrets}[resource]
        if request.method == "POST":
            return self._create({} if "dryRun" in request.query else kept, request)
        expect(request.body, apiVersion=str, kind=str, propagationPolicy=[str])
        return self._delete(kept, name)

    def _delete(self, kept: dict[str, Any], name: str) -> Reply:
        if name not in kept:
            return status(404, "not found")
        if kept is self.jobs and self.lingers:
            kept[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del kept[name]
        return Reply(200, {"kind": "Status"})

    def _create(self, kept: dict[str, Any], request: ApiRequest) -> Reply:
        about = request.body["metadata"]
        expect(about, name=str, labels=dict, ownerReferences=[list])
        if about["name"] in kept:
            return status(409, "already exists")
        uid = f"uid-of-{about['name']}"
        made = {**request.body, "metadata": {**about, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}}
        kept[about["name"]] = made
        return Reply(201, made)

    def _page(self, resource: str, request: ApiRequest) -> Reply:
        expect(dict(request.query), limit=str, labelSelector=[str], fieldSelector=[str], **{"continue": [str]})
        self.pages_read += 1
        if self.pages_read in self.expire_at:
            return status(410, "The provided continue parameter is too old")
        everything = self._items(resource, request.query.get("labelSelector", ""))
        start = int(request.query.get("continue", "0"))
        following = start + self.page
        more = str(following) if following < len(everything) or self.endless else ""
        return Reply(200, {"items": everything[start:following] or None, "metadata": {"continue": more}})

    def _items(self, resource: str, selector: str) -> list[Any]:
        if resource not in ("jobs", "pods", "events"):
            raise Wrong(f"nothing lists {resource}")
        key, _, value = selector.partition("=")
        jobs = [job for job in self.jobs.values() if not key or job["metadata"]["labels"][key] == value]
        return {"jobs": jobs, "pods": [self._pod(job) for job in jobs], "events": []}[resource]

    def _pod(self, job: Any) -> dict[str, Any]:
        name = job["metadata"]["name"]
        about = {**job["metadata"], "name": f"{name}-abcde"}
        return {"metadata": about, "spec": {"nodeName": "node-1"}, "status": self.pods.get(name, {"phase": "Running"})}


def status(code: int, message: str, **headers: str) -> Reply:
    """An error as the API server answers it."""
    return Reply(code, {"kind": "Status", "status": "Failure", "message": message, "code": code}, headers)


def kubeconfig(folder: Path, server: str, token: str) -> Path:
    content = {
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@asynccontextmanager
async def fake_kube(folder: Path, **settings: Any) -> AsyncIterator[tuple[FakeKubeApi, KubernetesProvider]]:
    """A pretend cluster, and a provider that uses it."""
    api = FakeKubeApi()
    async with api.serving() as url:
        fields = {"kind": "kubernetes", "kubeconfig": str(kubeconfig(folder, url, api.key)), "image": "yurt:0.2"}
        provider = KubernetesProvider(OWNER, KubernetesSettings.model_validate({**fields, **settings}))
        try:
            yield api, provider
        finally:
            await provider.aclose()
