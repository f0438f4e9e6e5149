"""Fly provider: mints Fly Machines of one app, by its Machines API.

A machine's name is its label, which is unique in the app: a creation whose answer was lost cannot make a second one.
Fly itself destroys a machine whose process has ended (``auto_destroy``), whether Yurt is there or not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import (
    Instance,
    MintOrder,
    Offer,
    OfferGone,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
    is_own,
    require_own,
)
from webhook.fleet.providers.http_api import ApiAnswer, JsonApi
from webhook.fleet.providers.reachability import refuse_unreachable
from webhook.fleet.providers.registry_image import RegistryImage, image_finding, image_not_known
from webhook.fleet.providers.spacing import Spacing
from webhook.provider_settings.fly import FlySettings

API = "https://api.machines.dev/v1"
OWNER_KEY = "yurt_owner"
"""Key of a machine's metadata, by which the list is filtered."""
LABEL_KEY = "yurt_label"
MOST_MACHINES = 10_000
_FLY_REGISTRY = "registry.fly.io"
_NO_ROOM = 412
_GONE = "destroyed"
_NEVER_WELL = frozenset({"stopped", "suspended", "failed", "launch_failed", "replaced"})
"""States that a machine without restarts does not leave by itself."""
_ID = re.compile(r"[0-9a-zA-Z]{1,40}")


class FlyProvider:
    """Machines of one app at Fly. See `Provider`.

    Args:
        owner: What the labels of this installation begin with.
        settings: The app, and what its machines are like.
        key: ``FLY_API_TOKEN``.
        url: Base of the API.
        spacing_seconds: Between two calls of one kind: Fly takes one a second.
        call_seconds: Deadline of one call.

    """

    lag_seconds = 15.0
    offer_seconds = 300.0

    def __init__(
        self,
        owner: str,
        settings: FlySettings,
        key: str,
        *,
        url: str = API,
        spacing_seconds: float = 1.0,
        call_seconds: float = 20.0,
    ) -> None:
        self._owner = owner
        self._settings = settings
        hint = f"set FLY_API_TOKEN to a token of the app: fly tokens create deploy --app {settings.app}"
        self._api = JsonApi("Fly", url, key, key_hint=hint, seconds=call_seconds)
        self._creations, self._lists, self._destructions = (Spacing("Fly", spacing_seconds) for _ in range(3))

    async def offers(self) -> Sequence[Offer]:
        """One offer a region, at the settings' price: Fly has no list of what is free. See `Provider.offers`."""
        price, size = self._settings.usd_per_hour, self._size()
        return [
            Offer(region, price, description=f"{size}, {region}", many=True) for region in self._settings.regions
        ] or [Offer("", price, description=size)]

    async def mint(self, order: MintOrder) -> str:
        """Create a machine, which starts at once; its id is the ref. See `Provider.mint`."""
        require_own(order, self._owner)
        refuse_unreachable(self._settings, order.url)
        await self._creations.wait()
        answer = await self._api.call("POST", self._path, body=self._creation(order), secrets=(order.token,))
        if answer.status == _NO_ROOM:
            where = f"in {order.offer.id}" if order.offer.id else "in any region"
            full = f"Fly has no room {where} for {self._size()}: {answer.text}"
            raise OfferGone(full) if order.offer.id else ProviderBusy(full)
        if not answer.ok:
            raise answer.error("cannot create a machine")
        return _id_of(answer, answer.value)

    async def slay(self, instance: Instance) -> None:
        """Kill and destroy the machine. See `Provider.slay`."""
        if not _ID.fullmatch(instance.ref):
            return
        await self._destructions.wait()
        answer = await self._api.call("DELETE", f"{self._path}/{instance.ref}", query={"force": "true"})
        if not answer.ok and answer.status != 404:
            raise answer.error("cannot destroy a machine")

    async def list(self) -> Sequence[Instance]:
        """All machines of the app with this owner in their metadata. See `Provider.list`."""
        await self._lists.wait()
        answer = await self._api.call("GET", self._path, query={f"metadata.{OWNER_KEY}": self._owner})
        if not answer.ok or not isinstance(answer.value, list) or len(answer.value) > MOST_MACHINES:
            raise answer.error("cannot list machines")
        return [
            Instance(name, _id_of(answer, one), running=state not in _NEVER_WELL, status=state)
            for one in answer.value
            for name, state in [(_text(answer, one, "name"), _text(answer, one, "state"))]
            if is_own(name, self._owner) and state != _GONE
        ]

    async def boot_log(self, label: str) -> str:
        """Where a log can be seen: the API has none. See `Provider.boot_log`."""
        return (
            f"Fly's API shows no logs: fly logs --app {self._settings.app} | grep the machine's id; its name is {label}"
        )

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether the image is there, and whether the key opens the app. See `Provider.check`."""
        return await asyncio.gather(self._image_found(), self._app_found())

    async def _image_found(self) -> ProviderFinding:
        image = self._settings.image
        if RegistryImage.read(image).registry == _FLY_REGISTRY:
            return image_not_known(image, f"{_FLY_REGISTRY} gives it to Fly's machines and the app's owners")
        return await image_finding(image, None, private=f"push it to {_FLY_REGISTRY}/{self._settings.app}")

    async def _app_found(self) -> ProviderFinding:
        app = self._settings.app
        try:
            answer = await self._api.call("GET", f"/apps/{app}")
            if answer.status == 404:
                hint = f"fly apps create {app}, and a token of it: fly tokens create deploy --app {app}"
                return ProviderFinding(ok=False, message=f"Fly has no app {app} for this token", hint=hint)
            if not answer.ok:
                raise answer.error(f"does not show the app {app}")
            machines = await self.list()
        except ProviderError as error:
            return ProviderFinding(ok=False, message=error.message, hint=error.hint)
        told = f"the token opens Fly's app {app}, with {len(machines)} machines of this installation"
        return ProviderFinding(ok=True, message=told)

    async def aclose(self) -> None:
        """Close connections; machines go on. See `Provider.aclose`."""
        await self._api.aclose()

    @property
    def _path(self) -> str:
        return f"/apps/{self._settings.app}/machines"

    def _size(self) -> str:
        settings = self._settings
        gpus = f", {settings.gpus}× {settings.gpu_kind}" if settings.gpu_kind else ""
        return f"{settings.cpus} {settings.cpu_kind} CPUs, {settings.memory_mb} MB{gpus}"

    def _creation(self, order: MintOrder) -> Mapping[str, Any]:
        settings = self._settings
        gpu = {"gpu_kind": settings.gpu_kind, "gpus": settings.gpus} if settings.gpu_kind else {}
        return {
            "name": order.label,
            **({"region": order.offer.id} if order.offer.id else {}),
            "config": {
                "image": settings.image,
                "env": {**settings.environment, **order.environment},
                "guest": {
                    "cpu_kind": settings.cpu_kind,
                    "cpus": settings.cpus,
                    "memory_mb": settings.memory_mb,
                    **gpu,
                },
                "metadata": {OWNER_KEY: self._owner, LABEL_KEY: order.label},
                **_init(settings),
                "auto_destroy": True,
                "restart": {"policy": "no"},
            },
        }


def _init(settings: FlySettings) -> Mapping[str, Any]:
    if settings.bootstrap is None:
        return {}
    entry_point, *arguments = start_command()
    return {"init": {"entrypoint": [entry_point], "cmd": arguments}}


def _text(answer: ApiAnswer, one: object, field: str) -> str:
    """A text of one machine of an answer. Raises ProviderError where there is none."""
    value = one.get(field) if isinstance(one, dict) else None
    if not isinstance(value, str):
        raise answer.error(f"shows a machine without {field}")
    return value


def _id_of(answer: ApiAnswer, one: object) -> str:
    if not _ID.fullmatch(found := _text(answer, one, "id")):
        raise answer.error("shows a machine whose id is none")
    return found
