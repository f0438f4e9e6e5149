"""Gives machines to services when they arrive, and tells each worker which servers it is to run."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from webhook.ledger.services import ServiceLedger
from webhook.models.catalogue import ModelCatalogue
from webhook.pool_settings import Pool
from webhook.service_settings import Service
from workers.protocol import ServiceOrders

NO_ORDERS = ServiceOrders()


class OrderBook:
    """Orders of workers, by what the ledger says that their machines serve."""

    def __init__(
        self,
        services: Mapping[str, Service],
        pools: Mapping[str, Pool],
        catalogue: ModelCatalogue,
        ledger: ServiceLedger,
        key: bytes,
    ) -> None:
        """``key`` is a secret that all replicas have: tokens of direct ways are made with it."""
        self._services = services
        self._pools = pools
        self._catalogue = catalogue
        self._ledger = ledger
        self._key = key

    def of_pool(self, pool: str) -> dict[str, int]:
        """The services of a pool, and the requests that one machine works on at once."""
        return {name: each.concurrency for name, each in self._services.items() if each.pool == pool}

    def refusal(self, service: str) -> str:
        """Why no machine can run a service's server; empty where one can."""
        settings = self._services.get(service)
        return self._catalogue.missing(settings.models) if settings else "it was removed"

    def models_of_pool(self, pool: str) -> Iterable[str]:
        """Names of the models that services of a pool name."""
        return (model for each in self._services.values() if each.pool == pool for model in each.models)

    def orders(self, label: str, service: str) -> ServiceOrders:
        """What a worker is to run whose machine serves this service ("": none)."""
        settings = self._services.get(service)
        if settings is None or self._catalogue.missing(settings.models):
            return NO_ORDERS
        order = settings.order(service, self._catalogue.refs(settings.models), self.direct_token(label))
        digest = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
        return ServiceOrders(digest=digest, orders=(order,))

    def direct_token(self, label: str) -> str:
        """The token that the gate of a machine requires. It is not stored: each replica can make it."""
        return hmac.new(self._key, f"yurt direct way {label}".encode(), hashlib.sha256).hexdigest()

    async def arrived(self, pool: str, worker_id: int, label: str) -> ServiceOrders:
        """Give the services of a pool machines, since a worker has just called home. Returns its orders."""
        services = {name: each for name, each in self._services.items() if each.pool == pool}
        if not services:
            return NO_ORDERS
        kept = self._pools[pool].idle_seconds
        for name, each in services.items():
            idle_seconds = kept if each.idle_seconds is None else each.idle_seconds
            await self._ledger.give(name, pool, each.concurrency, idle_seconds)
        return self.orders(label, await self._ledger.serves(worker_id))
