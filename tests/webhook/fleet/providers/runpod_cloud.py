"""A pretend RunPod: the part of its REST API v2 that Yurt calls, with faults, and books of its own."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.fake_api import ApiRequest, FakeApi, Reply, Wrong, expect, texts
from tests.webhook.fleet.providers.image_registry import NO_IMAGE
from webhook.fleet.providers import Instance
from webhook.fleet.providers.runpod import RunpodProvider
from webhook.provider_settings.runpod import RunpodSettings

PAGE = 2
GPUS = ("NVIDIA GeForce RTX 4090", "NVIDIA L4")


@dataclass
class RunpodPod:
    name: str
    body: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(7))
    status: str = "RUNNING"
    cost: Any = 0.34
    began: float = field(default_factory=time.monotonic)
    """Or since when it costs what it does."""
    ended: float | None = None
    billed: Decimal = Decimal(0)
    """For the time before ``began``, in US dollars."""

    def reprice(self, cost: Any, now: float) -> None:
        """From now on an hour costs so much."""
        self.billed, self.began, self.cost = self.usd(now), now, cost

    def usd(self, now: float) -> Decimal:
        """What it was billed so far."""
        hours = Decimal((self.ended or now) - self.began) / 3600
        return self.billed + hours * Decimal(str(self.cost))

    def shown(self) -> Mapping[str, Any]:
        about = {"id": self.id, "name": self.name, "status": self.status, "cost": self.cost}
        return {**about, "env": self.body.get("env", {}), "image": self.body.get("image", ""), "actions": []}


class RunpodCloud(FakeApi):
    def __init__(self) -> None:
        super().__init__()
        self.pods: dict[str, RunpodPod] = {}
        self.full = False
        self.loops = False
        """The next page is always the first one again."""
        self.lingers = False
        """A pod that was terminated stays in the list, as ``TERMINATED`` only when the test says so."""
        self.stale: Sequence[Mapping[str, Any]] | None = None
        """What is listed, page by page, in place of what there is."""
        self.clock: Callable[[], float] = time.monotonic
        """Of its books, in seconds."""

    def named(self, label: str) -> RunpodPod | None:
        return next((one for one in self.pods.values() if one.name == label and one.ended is None), None)

    def books(self) -> Decimal:
        """What it charges for all pods so far, in US dollars."""
        return sum(self.charges().values(), Decimal(0))

    def charges(self) -> Mapping[str, Decimal]:
        """What it charges for each pod so far, by name."""
        return {one.name: one.usd(self.clock()) for one in self.pods.values()}

    def handle(self, request: ApiRequest) -> Reply:
        path = re.fullmatch(r"/v2/pods(?:/(\w+))?", request.path)
        if not path:
            raise Wrong("no such path")
        match request.method, path[1]:
            case "POST", None:
                return self._create(request.body)
            case "GET", None:
                return self._list(request.query)
            case "DELETE", str(id):
                return self._terminate(id)
        raise Wrong("no such call")

    def _create(self, body: Any) -> Reply:
        required = {"name": str, "image": str, "gpu": dict, "cloud": str, "disk": int, "ports": list, "env": dict}
        expect(body, **required, dataCenterIds=[list], registry=[str], args=[str])
        expect(body["gpu"], id=str, count=int)
        texts([*body["env"].values(), *body.get("dataCenterIds", ())])
        if body["cloud"] not in ("SECURE", "COMMUNITY"):
            raise Wrong("cloud")
        if body["gpu"]["id"] not in GPUS:
            return Reply(400, {"title": "Bad Request", "detail": f"unknown gpu id {body['gpu']['id']}"})
        if self.full:
            return Reply(
                400, {"detail": "There are no longer any instances available with the requested specification"}
            )
        pod = RunpodPod(body["name"], body, began=self.clock())
        self.pods[pod.id] = pod
        return Reply(201, pod.shown())

    def _list(self, query: Mapping[str, str]) -> Reply:
        if not set(query) <= {"cursor"}:
            raise Wrong(f"query {query}")
        start = int(query.get("cursor", "0"))
        there = self.listed() if self.stale is None else self.stale
        page = list(there[start : start + PAGE])
        after = 0 if self.loops else start + PAGE
        more = self.loops or after < len(there)
        pagination = {"hasNextPage": more, "nextCursor": str(after) if more else None}
        return Reply(200, {"pods": page, "pagination": pagination})

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """What a true list shows."""
        return [one.shown() for one in self.pods.values() if one.ended is None or self.lingers]

    def _terminate(self, id: str) -> Reply:
        pod = self.pods.get(id)
        if pod is None or pod.ended is not None:
            return Reply(404, {"detail": "pod not found"})
        pod.ended = self.clock()
        return Reply(204)


@dataclass
class RunpodPlace:
    cloud: RunpodCloud
    url: str
    made: list[RunpodProvider] = field(default_factory=list)

    def provider(self, owner: str = OWNER, *, key: str = RunpodCloud.key, **settings: Any) -> RunpodProvider:
        given = {"kind": "runpod", "image": NO_IMAGE, "gpu": GPUS[0], "usd_per_hour": "0.40"}
        parsed = RunpodSettings.model_validate({**given, **settings})
        self.made.append(RunpodProvider(owner, parsed, key, url=f"{self.url}/v2", call_seconds=3.0))
        return self.made[-1]

    def pod(self, label: str) -> RunpodPod:
        found = self.cloud.named(label)
        assert found
        return found

    async def environment(self, label: str) -> Mapping[str, str]:
        return dict(self.pod(label).body["env"])

    async def argv(self, label: str) -> Sequence[str]:
        return [str({**self.pod(label).body, "env": ""})]

    async def exists(self, label: str) -> bool:
        return self.cloud.named(label) is not None

    async def kill(self, instance: Instance) -> None:
        self.cloud.pods[instance.ref].status = "EXITED"


@asynccontextmanager
async def runpod_place() -> AsyncIterator[RunpodPlace]:
    cloud = RunpodCloud()
    async with cloud.serving() as url:
        place = RunpodPlace(cloud, url)
        try:
            yield place
        finally:
            for provider in place.made:
                await provider.aclose()
