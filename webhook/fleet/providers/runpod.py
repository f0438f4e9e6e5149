"""RunPod provider: mints pods by RunPod's REST API, version 2.

A pod has no tags, so its name is its label. RunPod does not keep names unique; a label is used in one creation only.
RunPod starts a container that has ended again, so a pod has to terminate itself: with the key for this one pod that
RunPod gives it.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import (
    Instance,
    MintOrder,
    Offer,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
    is_own,
    require_own,
    slays_itself,
)
from webhook.fleet.providers.http_api import ApiAnswer, JsonApi
from webhook.fleet.providers.reachability import refuse_unreachable
from webhook.fleet.providers.registry_image import image_finding, image_not_known
from webhook.provider_settings.runpod import RunpodSettings

API = "https://api.runpod.io/v2"
MOST_PAGES = 100
_NO_ROOM = re.compile(r"(?i)capacity|no longer any instances|no instances|out of stock|could not be placed|unavailable")
"""What a refused creation (400) says where the request is right and no such GPU is free."""
_GONE = "TERMINATED"
_NEVER_WELL = frozenset({"EXITED", "ERROR"})
"""States that a pod does not leave by itself. Its disk is paid for."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class RunpodProvider:
    """Pods of one account at RunPod. See `Provider`.

    Args:
        owner: What the labels of this installation begin with.
        settings: What its pods are like.
        key: ``RUNPOD_API_KEY``.
        url: Base of the API.
        call_seconds: Deadline of one call.

    """

    lag_seconds = 30.0
    offer_seconds = 60.0

    def __init__(
        self, owner: str, settings: RunpodSettings, key: str, *, url: str = API, call_seconds: float = 20.0
    ) -> None:
        self._owner = owner
        self._settings = settings
        hint = "set RUNPOD_API_KEY to a key that may read and write pods: console.runpod.io, Settings, API keys"
        self._api = JsonApi("RunPod", url, key, key_hint=hint, seconds=call_seconds)

    async def offers(self) -> Sequence[Offer]:
        """One offer, at the settings' price. See `Provider.offers`."""
        return [Offer("", self._settings.usd_per_hour, description=self._size())]

    async def mint(self, order: MintOrder) -> str:
        """Create a pod; its id is the ref. See `Provider.mint`."""
        require_own(order, self._owner)
        refuse_unreachable(self._settings, order.url)
        answer = await self._api.call("POST", "/pods", body=self._creation(order), secrets=(order.token,))
        if answer.status == 400 and _NO_ROOM.search(answer.text):
            raise ProviderBusy(f"RunPod has no room for {self._size()}: {answer.text}")
        if not answer.ok:
            raise answer.error("cannot create a pod")
        return _id_of(answer, answer.value)

    async def slay(self, instance: Instance) -> None:
        """Terminate the pod with its disk. See `Provider.slay`."""
        if not _ID.fullmatch(instance.ref):
            return
        answer = await self._api.call("DELETE", f"/pods/{instance.ref}")
        if not answer.ok and answer.status != 404:
            raise answer.error("cannot terminate a pod")

    async def list(self) -> Sequence[Instance]:
        """Every pod of the account whose name begins with this owner's, from all pages. See `Provider.list`."""
        shown = [self._instance(answer, pod) async for answer, pod in self._pods()]
        return [one for one in shown if is_own(one.label, self._owner) and one.status != _GONE]

    async def boot_log(self, label: str) -> str:
        """Where a log can be seen: RunPod only streams them. See `Provider.boot_log`."""
        return f"the log of {label} is in RunPod's console: Pods, {label}, Logs"

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether the image is there, and whether the key may list pods. See `Provider.check`."""
        return await asyncio.gather(self._image_found(), self._key_found())

    async def _image_found(self) -> ProviderFinding:
        image = self._settings.image
        if self._settings.registry:
            return image_not_known(image, "RunPod has the credentials at its registry")
        return await image_finding(image, None, private="store credentials at RunPod, and set registry to their id")

    async def _key_found(self) -> ProviderFinding:
        try:
            pods = await self.list()
        except ProviderError as error:
            return ProviderFinding(ok=False, message=error.message, hint=error.hint)
        told = f"RunPod's key may list pods: {len(pods)} of this installation. Whether it may make some is not known"
        return ProviderFinding(ok=True, message=told)

    async def aclose(self) -> None:
        """Close connections; pods go on. See `Provider.aclose`."""
        await self._api.aclose()

    async def _pods(self) -> AsyncIterator[tuple[ApiAnswer, object]]:
        """Each pod with the answer that shows it. Raises ProviderError where a page is missing or repeated."""
        cursors: list[str] = []
        while len(cursors) < MOST_PAGES:
            answer = await self._api.call("GET", "/pods", query={"cursor": cursors[-1]} if cursors else None)
            pods, pages = answer.object.get("pods"), answer.object.get("pagination")
            if not answer.ok or not isinstance(pods, list) or not isinstance(pages, dict):
                raise answer.error("cannot list pods")
            for pod in pods:
                yield answer, pod
            if pages.get("hasNextPage") is False:
                return
            cursor = pages.get("nextCursor")
            if not isinstance(cursor, str) or not cursor or cursor in cursors:
                raise answer.error("does not say which page of pods is next")
            cursors.append(cursor)
        raise ProviderError(f"RunPod lists more than {MOST_PAGES} pages of pods")

    def _instance(self, answer: ApiAnswer, pod: object) -> Instance:
        status = _text(answer, pod, "status")
        return Instance(
            _text(answer, pod, "name"),
            _id_of(answer, pod),
            running=status not in _NEVER_WELL,
            usd_per_hour=_price(pod),
            status=status,
        )

    def _size(self) -> str:
        return f"{self._settings.gpus}× {self._settings.gpu}, {self._settings.cloud.lower()} cloud"

    def _creation(self, order: MintOrder) -> Mapping[str, Any]:
        settings = self._settings
        return {
            "name": order.label,
            "image": settings.image,
            "gpu": {"id": settings.gpu, "count": settings.gpus},
            "cloud": settings.cloud,
            "disk": settings.disk_gb,
            "ports": [],
            # RunPod appends them to the image's own entry point, which has to run what it is given.
            **({"args": shlex.join(start_command())} if settings.bootstrap else {}),
            "env": {**settings.environment, **order.environment, **slays_itself("runpod")},
            **({"dataCenterIds": list(settings.data_centers)} if settings.data_centers else {}),
            **({"registry": settings.registry} if settings.registry else {}),
        }


def _price(pod: object) -> Decimal | None:
    """What a pod costs an hour. None where RunPod does not say so: the price of the order stays."""
    cost = pod.get("cost") if isinstance(pod, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, Decimal | int) or cost <= 0:
        return None
    return Decimal(cost)


def _text(answer: ApiAnswer, pod: object, field: str) -> str:
    """A text of one pod of an answer. Raises ProviderError where there is none."""
    value = pod.get(field) if isinstance(pod, dict) else None
    if not isinstance(value, str):
        raise answer.error(f"shows a pod without {field}")
    return value


def _id_of(answer: ApiAnswer, pod: object) -> str:
    if not _ID.fullmatch(found := _text(answer, pod, "id")):
        raise answer.error("shows a pod whose id is none")
    return found
