"""A pretend Fly: the part of its Machines API that Yurt calls, with faults, and books of its own."""

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
from webhook.fleet.providers.fly import FlyProvider
from webhook.provider_settings.fly import FlySettings

APP = "yurt-workers"
BURST = 4
"""Calls of one kind within `WINDOW_SECONDS`; one more is answered 429."""
WINDOW_SECONDS = 0.08


@dataclass
class FlyMachine:
    name: str
    region: str
    config: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(7))
    state: str = "started"
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def shown(self) -> Mapping[str, Any]:
        about = {"id": self.id, "name": self.name, "state": self.state, "region": self.region}
        return {**about, "instance_id": "01H", "private_ip": "fdaa::1", "config": self.config}


class FlyCloud(FakeApi):
    def __init__(self) -> None:
        super().__init__()
        self.machines: dict[str, FlyMachine] = {}
        self.full: set[str] = set()
        """Regions without room."""
        self.stale: Sequence[Mapping[str, Any]] | None = None
        """A list that is answered for ever."""
        self.lingers = False
        """A machine that is destroyed stays in the list, as it is being destroyed."""
        self.clock: Callable[[], float] = time.monotonic
        """Of its books, in seconds."""
        self._calls: dict[str, list[float]] = {}

    def named(self, label: str) -> FlyMachine | None:
        return next((one for one in self.machines.values() if one.name == label and one.ended is None), None)

    def books(self, usd_per_hour: Decimal) -> Decimal:
        """What it charges for all machines so far, in US dollars."""
        return sum(self.charges(usd_per_hour).values(), Decimal(0))

    def charges(self, usd_per_hour: Decimal) -> Mapping[str, Decimal]:
        """What it charges for each machine so far, by name."""
        now = self.clock()
        lived = {one.name: Decimal((one.ended or now) - one.began) for one in self.machines.values()}
        return {name: usd_per_hour * seconds / 3600 for name, seconds in lived.items()}

    def handle(self, request: ApiRequest) -> Reply:
        if self._too_many(request.method):
            return Reply(429, {"error": "rate limit exceeded"}, {"Retry-After": "7"})
        path = re.fullmatch(rf"/v1/apps/{APP}(/machines(?:/(\w+))?)?", request.path)
        if not path:
            return Reply(404, {"error": "app not found"})
        if request.method == "GET" and not path[1]:
            return Reply(200, {"name": APP, "status": "deployed"})
        match request.method, path[2]:
            case "POST", None:
                return self._create(request.body)
            case "GET", None:
                return self._list(request.query)
            case "DELETE", str(id):
                return self._destroy(id, request.query)
        raise Wrong("no such call")

    def _too_many(self, method: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._calls.get(method, []) if now - at < WINDOW_SECONDS]
        self._calls[method] = [*recent, now]
        return len(recent) >= BURST

    def _create(self, body: Any) -> Reply:
        expect(body, name=str, region=[str], config=dict)
        config = body["config"]
        expect(config, image=str, env=dict, guest=dict, metadata=dict, auto_destroy=bool, restart=dict, init=[dict])
        expect(config["guest"], cpu_kind=str, cpus=int, memory_mb=int, gpu_kind=[str], gpus=[int])
        expect(config["metadata"], yurt_owner=str, yurt_label=str)
        texts(config["env"].values())
        if "init" in config:
            expect(config["init"], entrypoint=list, cmd=list)
            texts([*config["init"]["entrypoint"], *config["init"]["cmd"]])
        if config["restart"] != {"policy": "no"} or config["auto_destroy"] is not True:
            raise Wrong("a machine that has ended would be paid for")
        if "missing" in config["image"]:
            return Reply(422, {"error": "failed to get manifest: MANIFEST_UNKNOWN"})
        if body.get("region") in self.full:
            return Reply(412, {"error": "could not reserve resource for machine: insufficient memory"})
        if self.named(body["name"]):
            return Reply(409, {"error": f"already_exists: unique machine name violation, {body['name']}"})
        machine = FlyMachine(body["name"], body.get("region", "ams"), config, began=self.clock())
        self.machines[machine.id] = machine
        return Reply(200, machine.shown())

    def _list(self, query: Mapping[str, str]) -> Reply:
        if set(query) != {"metadata.yurt_owner"}:
            raise Wrong(f"query {query}")
        owner = query["metadata.yurt_owner"]
        return Reply(200, self.listed(owner) if self.stale is None else self.stale)

    def listed(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """What a true list shows of an installation."""
        there = [one for one in self.machines.values() if one.ended is None or self.lingers]
        return [one.shown() for one in there if one.config["metadata"].get("yurt_owner") == owner]

    def _destroy(self, id: str, query: Mapping[str, str]) -> Reply:
        if query != {"force": "true"}:
            raise Wrong("a machine that runs is destroyed by force alone")
        machine = self.machines.get(id)
        if machine is None or machine.ended is not None:
            return Reply(404, {"error": "machine not found"})
        self.end(machine)
        return Reply(200, {"ok": True})

    def end(self, machine: FlyMachine) -> None:
        machine.state, machine.ended = ("destroying" if self.lingers else "destroyed"), self.clock()


@dataclass
class FlyPlace:
    cloud: FlyCloud
    url: str
    made: list[FlyProvider] = field(default_factory=list)

    def provider(self, owner: str = OWNER, *, key: str = FlyCloud.key, **settings: Any) -> FlyProvider:
        given = {"kind": "fly", "app": APP, "image": NO_IMAGE, "usd_per_hour": "0.02", **settings}
        options = {"url": f"{self.url}/v1", "spacing_seconds": 0.05, "call_seconds": 3.0}
        made = FlyProvider(owner, FlySettings.model_validate(given), key, **options)  # type: ignore[arg-type]
        self.made.append(made)
        return made

    def machine(self, label: str) -> FlyMachine:
        found = self.cloud.named(label)
        assert found
        return found

    async def environment(self, label: str) -> Mapping[str, str]:
        return dict(self.machine(label).config["env"])

    async def argv(self, label: str) -> Sequence[str]:
        return [str({**self.machine(label).config, "env": ""})]

    async def exists(self, label: str) -> bool:
        return self.cloud.named(label) is not None

    async def kill(self, instance: Instance) -> None:
        self.cloud.end(self.cloud.machines[instance.ref])


@asynccontextmanager
async def fly_place() -> AsyncIterator[FlyPlace]:
    cloud = FlyCloud()
    async with cloud.serving() as url:
        place = FlyPlace(cloud, url)
        try:
            yield place
        finally:
            for provider in place.made:
                await provider.aclose()
