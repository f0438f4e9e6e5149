"""What each kind of provider does worse on its bad days: see `bad_days`.

A list lies in two ways: it is as it was a moment ago, which is no longer ago than the provider's ``lag_seconds``, or it
is empty. Kubernetes answers from its quorum and does neither, but pages of its list expire.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.market.limits import RateLimits
from infra.market.market import Market, MarketFaults
from tests.webhook.fleet.providers.bad_days import BadPlace, Deed
from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.fake_api import FakeApi
from tests.webhook.fleet.providers.fake_kube_api import FakeKubeApi, kubeconfig, status
from tests.webhook.fleet.providers.fly_cloud import FlyPlace, fly_place
from tests.webhook.fleet.providers.runpod_cloud import RunpodPlace, runpod_place
from tests.webhook.fleet.providers.vast_market import VastPlace, some_offers, vast_place
from webhook.fleet.providers import Provider
from webhook.fleet.providers.fly import FlyProvider
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.fleet.providers.runpod import RunpodProvider
from webhook.fleet.providers.vast_api import VastPace
from webhook.provider_settings import KubernetesSettings

Shown = Sequence[Mapping[str, Any]]


class LaggingList:
    """What a list showed at each turn, so that it can show it again for a while."""

    def __init__(self, lag_seconds: float, shown: Callable[[], Shown], clock: Callable[[], float]) -> None:
        self._lag_seconds = lag_seconds
        self._shown = shown
        self._clock = clock
        self._earlier: list[tuple[float, Shown]] = []

    def note(self) -> None:
        """Remember what is shown now."""
        now = self._clock()
        recent = [(at, shown) for at, shown in self._earlier if now - at <= self._lag_seconds]
        self._earlier = [*recent, (now, self._shown())]

    def lie(self, draw: random.Random) -> Shown:
        """Nothing, or what was shown a moment ago."""
        return [] if draw.random() < 0.3 else draw.choice(self._earlier)[1]


class BadVast:
    """Vast.ai, played by the pretend market."""

    def __init__(self, place: VastPlace) -> None:
        self._place = place
        self.cloud: FakeApi = place.cloud

    @property
    def market(self) -> Market:
        return self._place.market

    def provider(self) -> Provider:
        # A turn takes no time by the market's clock, so calls cannot be kept apart by it.
        self._place.pace = VastPace(0.001)
        return self._place.provider()

    def set_clock(self, clock: Callable[[], float]) -> None:
        self._place.cloud.market = Market(some_offers(60), limits=RateLimits(0), clock=clock)
        self._list = LaggingList(self._place.provider().lag_seconds, self._shown, clock)

    def _shown(self) -> Shown:
        now = self.market.clock()
        return [one.shown(now) for one in self.market.contracts.values() if one.ended is None]

    def living(self) -> Sequence[str]:
        return [one.label for one in self.market.living() if one.label.startswith(f"{OWNER}-")]

    def is_well(self, label: str) -> bool:
        return self._place.contract(label).state(self.market.clock()) == "running"

    def make_ill(self, label: str, draw: random.Random) -> None:
        ill = ("exited", "unknown", "offline", "stopped", "frozen", "created", "loading")
        self._place.contract(label).status = draw.choice(ill)

    def reprice(self, label: str, factor: Decimal) -> None:
        contract = self._place.contract(label)
        contract.reprice(contract.usd_per_hour * factor, self.market.clock())

    def deeds(self) -> Sequence[Deed]:
        return (self._err_with_contract, self._rent_to_others, self._lie, self._linger)

    def _err_with_contract(self, draw: random.Random) -> None:
        self.market.faults.errors_with_contract = 1

    def _rent_to_others(self, draw: random.Random) -> None:
        self.market.faults.taken = {draw.choice(list(self.market.offers)) for _ in range(9)}

    def _lie(self, draw: random.Random) -> None:
        self.market.faults.stale = self._list.lie(draw)

    def _linger(self, draw: random.Random) -> None:
        self.market.faults.lingers = not self.market.faults.lingers

    def tell_truth(self) -> None:
        self.market.faults.stale = None
        self._list.note()

    def heal(self) -> None:
        self.market.faults = MarketFaults()

    def books(self) -> Mapping[str, Decimal] | None:
        return {entry.label: entry.hourly_usd for entry in self.market.books() if entry.label.startswith(f"{OWNER}-")}


class BadFly:
    """Fly, in two regions."""

    def __init__(self, place: FlyPlace) -> None:
        self._place = place
        self.cloud: FakeApi = place.cloud

    def provider(self) -> Provider:
        return self._place.provider(regions=["ams", "iad"])

    def set_clock(self, clock: Callable[[], float]) -> None:
        self._place.cloud.clock = clock
        self._list = LaggingList(FlyProvider.lag_seconds, lambda: self._place.cloud.listed(OWNER), clock)

    def living(self) -> Sequence[str]:
        there = (one for one in self._place.cloud.machines.values() if one.ended is None)
        return [one.name for one in there if one.name.startswith(f"{OWNER}-")]

    def is_well(self, label: str) -> bool:
        return self._place.machine(label).state == "started"

    def make_ill(self, label: str, draw: random.Random) -> None:
        ended = ("stopped", "suspended", "failed", "launch_failed", "replaced")
        self._place.machine(label).state = draw.choice((*ended, "created", "starting"))

    def reprice(self, label: str, factor: Decimal) -> None:
        """Fly shows no prices."""

    def deeds(self) -> Sequence[Deed]:
        return (self._fill_regions, self._lie, self._linger)

    def _fill_regions(self, draw: random.Random) -> None:
        self._place.cloud.full = set(draw.choice((["ams"], ["iad"], ["ams", "iad"], [])))

    def _lie(self, draw: random.Random) -> None:
        self._place.cloud.stale = self._list.lie(draw)

    def _linger(self, draw: random.Random) -> None:
        self._place.cloud.lingers = not self._place.cloud.lingers

    def tell_truth(self) -> None:
        self._place.cloud.stale = None
        self._list.note()

    def heal(self) -> None:
        self.tell_truth()
        self._place.cloud.full, self._place.cloud.lingers = set(), False

    def books(self) -> Mapping[str, Decimal] | None:
        return self._place.cloud.charges(Decimal("0.02"))


class BadRunpod:
    """RunPod, whose list has pages of two pods."""

    def __init__(self, place: RunpodPlace) -> None:
        self._place = place
        self.cloud: FakeApi = place.cloud

    def provider(self) -> Provider:
        return self._place.provider()

    def set_clock(self, clock: Callable[[], float]) -> None:
        self._place.cloud.clock = clock
        self._list = LaggingList(RunpodProvider.lag_seconds, self._place.cloud.listed, clock)

    def living(self) -> Sequence[str]:
        there = (one for one in self._place.cloud.pods.values() if one.ended is None)
        return [one.name for one in there if one.name.startswith(f"{OWNER}-")]

    def is_well(self, label: str) -> bool:
        return self._place.pod(label).status == "RUNNING"

    def make_ill(self, label: str, draw: random.Random) -> None:
        self._place.pod(label).status = draw.choice(("EXITED", "ERROR", "PROVISIONING", "STARTING"))

    def reprice(self, label: str, factor: Decimal) -> None:
        pod = self._place.pod(label)
        pod.reprice(float(Decimal(str(pod.cost)) * factor), self._place.cloud.clock())

    def deeds(self) -> Sequence[Deed]:
        return (self._fill, self._lie, self._linger, self._lose_a_page)

    def _fill(self, draw: random.Random) -> None:
        self._place.cloud.full = not self._place.cloud.full

    def _lie(self, draw: random.Random) -> None:
        self._place.cloud.stale = self._list.lie(draw)

    def _linger(self, draw: random.Random) -> None:
        self._place.cloud.lingers = not self._place.cloud.lingers

    def _lose_a_page(self, draw: random.Random) -> None:
        if draw.random() < 0.5:
            self._place.cloud.loops = True
            return
        self.cloud.fault("GET", "pass")
        self.cloud.fault("GET", draw.choice(("cut", "answer")))

    def tell_truth(self) -> None:
        self._place.cloud.stale, self._place.cloud.loops = None, False
        self._list.note()

    def heal(self) -> None:
        self.tell_truth()
        self._place.cloud.full, self._place.cloud.lingers = False, False

    def books(self) -> Mapping[str, Decimal] | None:
        return self._place.cloud.charges()


class BadKube:
    """A cluster whose list has pages of two Jobs."""

    def __init__(self, api: FakeKubeApi, url: str, folder: Path) -> None:
        self._api = api
        self.cloud: FakeApi = api
        self._fields = {"kind": "kubernetes", "kubeconfig": str(kubeconfig(folder, url, api.key)), "image": "yurt:0.2"}
        self.made: list[KubernetesProvider] = []

    def provider(self, owner: str = OWNER) -> Provider:
        self.made.append(KubernetesProvider(owner, KubernetesSettings.model_validate(self._fields)))
        return self.made[-1]

    def set_clock(self, clock: Callable[[], float]) -> None:
        """A cluster keeps no books."""

    def living(self) -> Sequence[str]:
        return [name for name in self._api.living() if name.startswith(f"{OWNER}-")]

    def is_well(self, label: str) -> bool:
        # Without its Secret a Pod does not start.
        return label not in self._api.pods and label in self._api.secrets

    def make_ill(self, label: str, draw: random.Random) -> None:
        waits = {"reason": draw.choice(("ImagePullBackOff", "InvalidImageName")), "message": "no such image"}
        pending = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waits}}]}
        self._api.pods[label] = draw.choice(({"phase": "Failed"}, {"phase": "Succeeded"}, {}, pending))

    def reprice(self, label: str, factor: Decimal) -> None:
        """A cluster shows no prices."""

    def deeds(self) -> Sequence[Deed]:
        return (self._expire_pages, self._exceed_quota, self._linger, self._lose_a_page, self._lose_the_secret)

    def _expire_pages(self, draw: random.Random) -> None:
        self._api.expire_at = {self._api.pages_read + draw.randrange(1, 4) for _ in range(draw.randrange(1, 4))}

    def _exceed_quota(self, draw: random.Random) -> None:
        self.cloud.fault("POST", "answer", status(403, 'jobs "x" is forbidden: exceeded quota: q'))

    def _linger(self, draw: random.Random) -> None:
        self._set_lingers(not self._api.lingers)

    def _set_lingers(self, lingers: bool) -> None:
        self._api.lingers = lingers
        if not lingers:
            self._api.jobs = {name: self._api.jobs[name] for name in self._api.living()}

    def _lose_a_page(self, draw: random.Random) -> None:
        self.cloud.fault("GET", "pass")
        self.cloud.fault("GET", draw.choice(("cut", "answer")))

    def _lose_the_secret(self, draw: random.Random) -> None:
        self.cloud.fault("POST", "pass")
        self.cloud.fault("POST", draw.choice(("lose", "answer")))

    def tell_truth(self) -> None:
        self._api.expire_at = set()

    def heal(self) -> None:
        self.tell_truth()
        self._set_lingers(False)

    def books(self) -> Mapping[str, Decimal] | None:
        return None


@asynccontextmanager
async def bad_vast(folder: Path) -> AsyncIterator[BadPlace]:
    async with vast_place() as place:
        yield BadVast(place)


@asynccontextmanager
async def bad_fly(folder: Path) -> AsyncIterator[BadPlace]:
    async with fly_place() as place:
        yield BadFly(place)


@asynccontextmanager
async def bad_runpod(folder: Path) -> AsyncIterator[BadPlace]:
    async with runpod_place() as place:
        yield BadRunpod(place)


@asynccontextmanager
async def bad_kube(folder: Path) -> AsyncIterator[BadPlace]:
    api = FakeKubeApi()
    api.page = 2
    async with api.serving() as url:
        place = BadKube(api, url, folder)
        try:
            yield place
        finally:
            for provider in place.made:
                await provider.aclose()
