"""Docker provider: mints workers as containers at one engine, Docker or Podman.

The engine's own list says what exists: each container carries the installation's name and the machine's label. A
container that has ended stays until the control plane has read its log and removes it. It costs no more than its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
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
from webhook.fleet.providers.docker_container import LABEL, OWNER, STOP_SECONDS, described
from webhook.fleet.providers.docker_engine import DockerEngine, EngineError
from webhook.fleet.providers.docker_images import WorkerImage
from webhook.fleet.providers.reachability import is_local_only
from webhook.provider_settings import DockerSettings
from webhook.secret_settings import Secrets

_ID = re.compile(r"[0-9a-f]{64}")
_CREATED = re.compile(rb'"Id":\s*"([0-9a-f]{64})"')
_ENDED = frozenset({"exited", "dead", "removing", "stopped"})
_NETWORKS_OF_ENGINES = frozenset({"host", "bridge", "none", "default"})
_LOG_LINES = "200"
_LOG_BYTES = 1 << 20
"""Of a log's end that are read, where its lines are long."""
_START_HINTS = (
    (r"device driver|nvidia|cdi", "does the host have the NVIDIA driver and the NVIDIA Container Toolkit?"),
    (
        r"catatonit|docker-init|container-init",
        "install the engine's init program: catatonit for Podman, tini for Docker",
    ),
    (r"bind source|no such file or directory|statfs", "are the sources of mounts there, on the engine's host?"),
    (r"executable file", 'is it a worker\'s image? Its entry point has to take the command "worker"'),
    (r"network", "is the network there? See docker network ls"),
)


class DockerProvider:
    """Mints containers.

    Args:
        owner: What the labels of this installation begin with.
        settings: The engine, and what each container gets.
        secrets: The registry's credentials.

    """

    lag_seconds = 0.0
    offer_seconds = 5.0
    """Soon after a container has ended there is room for another."""

    def __init__(self, owner: str, settings: DockerSettings, secrets: Secrets) -> None:
        self._owner = owner
        self._settings = settings
        self._engine = DockerEngine(settings)
        self._image = WorkerImage(self._engine, settings, secrets)
        self._offer = Offer("", settings.usd_per_hour, description=f"a container at {settings.host}")
        self._creating = asyncio.Lock()

    async def offers(self) -> Sequence[Offer]:
        """One offer while there is room. See `Provider.offers`."""
        return [self._offer] if await self._has_room() else []

    async def mint(self, order: MintOrder) -> str:
        """Create and start one container; its id is the ref. See `Provider.mint`."""
        await self._refuse(order)
        await self._image.ready()
        # One at a time counts and creates, so that no two take the last room.
        async with self._creating:
            if not await self._has_room():
                raise ProviderBusy(f"{self._settings.machines} containers are at {self._settings.host}: no room")
            ref = await self._created(order)
        await self._started(ref)
        return ref

    async def slay(self, instance: Instance) -> None:
        """Stop it, SIGTERM first, and remove it with its volumes. See `Provider.slay`."""
        if not is_own(instance.label, self._owner):
            return None
        # By its id where that is known: a name can be changed.
        path = f"/containers/{instance.ref if _ID.fullmatch(instance.ref) else instance.label}"
        try:
            await self._engine.call("POST", f"{path}/stop", {"t": str(STOP_SECONDS)})
        except EngineError as error:
            if error.status in (0, 404):
                return _unless_gone(error)
        try:
            await self._engine.call("DELETE", path, {"force": "true", "v": "true"})
        except EngineError as error:
            _unless_gone(error)

    async def list(self) -> Sequence[Instance]:
        """Every container with this installation's label, also those that have ended. See `Provider.list`."""
        filters = json.dumps({"label": [f"{OWNER}={self._owner}"]})
        shown = await self._engine.get("/containers/json", all="true", filters=filters)
        try:
            return [instance for one in shown if is_own((instance := _instance(one)).label, self._owner)]
        except (KeyError, TypeError, AttributeError):
            raise ProviderError(f"{self._settings.host} lists containers in an unknown form") from None

    async def boot_log(self, label: str) -> str:
        """Return the end of a container's log, and how it ended. See `Provider.boot_log`."""
        if not is_own(label, self._owner):
            return ""
        try:
            state = (await self._engine.get(f"/containers/{label}/json"))["State"]
            printed = await self._printed(label)
        except EngineError as error:
            if error.status == 404:
                return ""
            raise
        where = f"container {label} at {self._settings.host}{_end_in_words(state)}"
        return f"{where}\n{printed[-(BOOT_LOG_CHARACTERS - len(where) - 1) :]}"[:BOOT_LOG_CHARACTERS]

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether engine, image and network are there, and limits can be set. See `Provider.check`."""
        try:
            version = await self._engine.version()
            about = await self._engine.get("/info")
            return [
                ProviderFinding(ok=True, message=_engine_in_words(version.name, self._settings.host, about)),
                await self._image.found(),
                *await self._network_found(),
                *_limits_found(self._settings, about),
                *_gpus_found(self._settings, is_podman=version.is_podman),
            ]
        except ProviderError as error:
            return [ProviderFinding(ok=False, message=error.message, hint=error.hint)]

    async def aclose(self) -> None:
        """End a pull, and let go of connections: containers go on. See `Provider.aclose`."""
        await self._image.aclose()
        await self._engine.aclose()

    async def _refuse(self, order: MintOrder) -> None:
        """Refuse what cannot work."""
        require_own(order, self._owner)
        if is_local_only(order.url) and not self._settings.same_machine:
            hint = 'set server.public_url, or network = "host" for an engine on this machine'
            raise ProviderRefused(f"a container cannot reach the control plane at {order.url}", hint=hint)
        if self._settings.gpus is not None:
            for finding in _gpus_found(self._settings, is_podman=(await self._engine.version()).is_podman):
                raise ProviderRefused(finding.message, hint=finding.hint)

    async def _has_room(self) -> bool:
        most = self._settings.machines
        return most is None or sum(one.running for one in await self.list()) < most

    async def _created(self, order: MintOrder) -> str:
        try:
            answer = await self._engine.call(
                "POST", "/containers/create", {"name": order.label}, described(self._settings, self._owner, order)
            )
        except EngineError as error:
            raise self._failure(error, secret=order.token) from None
        if (found := _CREATED.search(answer)) is None:
            raise ProviderError(f"{self._settings.host} created a container without an id")
        return found[1].decode()

    async def _started(self, ref: str) -> None:
        try:
            await self._engine.call("POST", f"/containers/{ref}/start")
        except EngineError as error:
            if error.status != 304:
                raise self._failure(error) from None

    def _failure(self, error: EngineError, secret: str = "") -> ProviderError:
        said = error.message.replace(secret, "…") if secret else error.message
        hint = error.hint or next((hint for told, hint in _START_HINTS if re.search(told, said, re.IGNORECASE)), "")
        message = f"no container was started: {said}" if error.status else said
        return ProviderError(message, hint=hint) if error.retry else ProviderRefused(message, hint=hint)

    async def _printed(self, label: str) -> str:
        query = {"stdout": "true", "stderr": "true", "tail": _LOG_LINES}
        async with self._engine.stream("GET", f"/containers/{label}/logs", query) as response:
            return (await _demultiplexed(response.aiter_raw())).decode("utf-8", "replace").strip()

    async def _network_found(self) -> Sequence[ProviderFinding]:
        name = self._settings.network
        if name is None or name in _NETWORKS_OF_ENGINES:
            return []
        try:
            await self._engine.get(f"/networks/{name}")
        except EngineError as error:
            if error.status != 404:
                raise
            return [ProviderFinding(ok=False, message=f"there is no network {name}", hint="see docker network ls")]
        return [ProviderFinding(ok=True, message=f"network {name} is there")]


def _instance(shown: Any) -> Instance:
    state = str(shown["State"]).lower()
    return Instance(shown["Labels"].get(LABEL, ""), shown["Id"], state not in _ENDED, status=state)


def _unless_gone(error: EngineError) -> None:
    """Raise an error of a removal, but not where there is nothing to remove any more."""
    # 409: it is being removed by an earlier call.
    if error.status not in (404, 409):
        raise error


async def _demultiplexed(chunks: AsyncIterator[bytes]) -> bytes:
    """The end of what a container printed: the API sends it in frames, each behind eight bytes with its length."""
    framed = bytearray()
    async for chunk in chunks:
        framed += chunk
        if len(framed) > _LOG_BYTES:
            break
    printed = bytearray()
    while len(framed) >= 8:
        length = int.from_bytes(framed[4:8], "big")
        printed += framed[8 : 8 + length]
        del framed[: 8 + length]
    return bytes(printed)


def _end_in_words(state: Any) -> str:
    """How a container ended, from its state."""
    if state.get("Status") == "running":
        return ""
    why = ", out of memory" if state.get("OOMKilled") else ""
    detail = f": {str(state['Error'])[:200]}" if state.get("Error") else ""
    return f", {state.get('Status')} with status {state.get('ExitCode')}{why}{detail}"


def _engine_in_words(name: str, host: str, about: Any) -> str:
    with contextlib.suppress(AttributeError, TypeError):
        if about.get("Rootless") or any("rootless" in option for option in about.get("SecurityOptions") or ()):
            return f"{name} at {host}, rootless"
    return f"{name} at {host}"


def _limits_found(settings: DockerSettings, about: Any) -> Sequence[ProviderFinding]:
    wanted = (("memory_bytes", settings.memory_bytes, "MemoryLimit"), ("cpus", settings.cpus, "CpuCfsQuota"))
    hint = "a rootless engine needs cgroups v2 with these controllers delegated to its user; or leave the setting out"
    return [
        ProviderFinding(ok=False, message=f"{field} is set, but the engine cannot limit that", hint=hint)
        for field, value, able in wanted
        if value is not None and about.get(able) is False
    ]


def _gpus_found(settings: DockerSettings, *, is_podman: bool) -> Sequence[ProviderFinding]:
    if settings.gpus is None or not is_podman:
        return []
    message = "gpus is set, but Podman gives no GPU to containers by its Docker-compatible API"
    return [ProviderFinding(ok=False, message=message, hint="use Docker for this pool")]
