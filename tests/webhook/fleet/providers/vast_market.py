"""The pretend market over HTTP with the faults of an API, and vast providers that call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.market.contracts import MarketContract
from infra.market.limits import RateLimits
from infra.market.market import UNAUTHORIZED, Market
from infra.market.offers import MarketOffer
from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.fake_api import ApiRequest, FakeApi, Reply
from tests.webhook.fleet.providers.image_registry import NO_IMAGE
from webhook.fleet.providers import Instance
from webhook.fleet.providers.registry_image import RegistryLogin
from webhook.fleet.providers.vast import VastProvider
from webhook.fleet.providers.vast_api import VastPace
from webhook.provider_settings.vast import VastSettings

SCALE = 0.03
"""Of the time between two calls."""


def some_offers(count: int = 12) -> list[MarketOffer]:
    return [MarketOffer(100 + n, 500 + n, 900 + n // 2, round(0.10 + 0.01 * n, 2)) for n in range(count)]


class VastMarket(FakeApi):
    creation = "PUT"
    unauthorized = UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__()
        self.market = Market(some_offers(), limits=RateLimits(SCALE))

    def handle(self, request: ApiRequest) -> Reply:
        assert request.path.startswith("/api/")
        return self.market.answer(
            ApiRequest(request.method, request.path[4:], request.query, request.headers, request.body)
        )

    def _handled(self, request: ApiRequest) -> Reply:
        if not request.path.startswith("/logs/"):
            return super()._handled(request)
        if "authorization" in request.headers:
            self.wrong.append("the account's key went where logs are")
        log = self.market.logs.get(int(request.path[6:]))
        return Reply(404) if log is None else Reply(200, text=log)


@dataclass
class VastPlace:
    cloud: VastMarket
    url: str
    made: list[VastProvider] = field(default_factory=list)
    pace: VastPace = field(default_factory=lambda: VastPace(SCALE))

    @property
    def market(self) -> Market:
        return self.cloud.market

    def provider(
        self, owner: str = OWNER, *, key: str = VastMarket.key, login: RegistryLogin | None = None, **settings: Any
    ) -> VastProvider:
        given = {"kind": "vast", "image": NO_IMAGE, "disk_gb": 20, **settings}
        parsed = VastSettings.model_validate(given)
        url = f"{self.url}/api"
        made = VastProvider(owner, parsed, key, self.pace, url=url, login=login, call_seconds=3.0, log_seconds=3.0)
        self.made.append(made)
        return made

    def restarted(self) -> None:
        """The providers that are made from here on are those of a new process: it holds no call back."""
        self.pace = VastPace(SCALE)

    def contract(self, label: str) -> MarketContract:
        [found] = [one for one in self.market.living() if one.label == label]
        return found

    async def environment(self, label: str) -> Mapping[str, str]:
        return dict(self.contract(label).body["env"])

    async def argv(self, label: str) -> Sequence[str]:
        return [str({**self.contract(label).body, "env": ""})]

    async def exists(self, label: str) -> bool:
        return any(one.label == label for one in self.market.living())

    async def kill(self, instance: Instance) -> None:
        self.contract(instance.label).status = "exited"


@asynccontextmanager
async def vast_place() -> AsyncIterator[VastPlace]:
    cloud = VastMarket()
    async with cloud.serving() as url:
        cloud.market.url = url
        place = VastPlace(cloud, url)
        try:
            yield place
        finally:
            for provider in place.made:
                await provider.aclose()
