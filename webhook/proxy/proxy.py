"""Puts the parts of this replica's proxy together: queues of its services, ways to machines, shares and orders."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from webhook.ledger.ledger import Ledger
from webhook.ledger.services import Replica, ServiceLedger, ServingMachine, token_hash
from webhook.loops import LoopHealth
from webhook.models.catalogue import ModelCatalogue
from webhook.pool_settings import Pool
from webhook.proxy.exchange import ServiceMachine
from webhook.proxy.http_machine import connection_pool
from webhook.proxy.orders import OrderBook
from webhook.proxy.queue import ServiceQueue
from webhook.proxy.reach import MachineReach
from webhook.proxy.registry import MachineRegistry
from webhook.proxy.replica_ways import ReplicaWays
from webhook.proxy.sharing import ServiceSharing
from webhook.service_settings import Service


@dataclass(frozen=True, slots=True)
class ServiceProxy:
    """This replica's proxy."""

    ledger: ServiceLedger
    registry: MachineRegistry
    services: Mapping[str, Service]
    """As they are defined now."""
    queues: dict[str, ServiceQueue]
    """Of these, and of those that were removed while they had requests."""
    sharing: ServiceSharing
    orders: OrderBook
    reach: MachineReach
    replica: Replica
    replicas: ReplicaWays
    """Ways through the others."""
    replica_token: str
    """With which this replica calls others."""

    def refresh(self) -> None:
        """Have a queue for each service that is defined, with its present settings, and retire all others."""
        for name, settings in self.services.items():
            if (queue := self.queues.get(name)) is None:
                self.queues[name] = ServiceQueue(name, settings, self.sharing.kick)
            else:
                queue.settings, queue.retired = settings, False
        for name, queue in self.queues.items():
            if name not in self.services:
                queue.retire()
        self.sharing.kick()

    async def admits(self, worker_id: int, service: str) -> bool:
        """Whether a worker may take requests of a service: the ledger has given its machine to it."""
        return await self.ledger.serves(worker_id) == service


def make_proxy(
    services: Mapping[str, Service],
    pools: Mapping[str, Pool],
    ledger: Ledger,
    catalogue: ModelCatalogue,
    health: LoopHealth,
    *,
    key: bytes,
    url: str,
) -> ServiceProxy:
    """Make the proxy of a replica that others reach by ``url``; empty: they cannot. ``key``: see `OrderBook`."""
    token = secrets.token_urlsafe(32)
    replica = Replica(secrets.token_hex(8), token_hash(token), url)
    stored, registry = ServiceLedger(ledger), MachineRegistry()
    queues: dict[str, ServiceQueue] = {}
    orders = OrderBook(services, pools, catalogue, stored, key)
    reach, replicas = MachineReach(services, pools, orders), ReplicaWays(connection_pool(), replica.id, token)

    def way(machine: ServingMachine) -> ServiceMachine | None:
        return reach.way(machine) or replicas.way(machine)

    sharing = ServiceSharing(stored, replica, queues, registry, way, pools, health)
    proxy = ServiceProxy(stored, registry, services, queues, sharing, orders, reach, replica, replicas, token)
    proxy.refresh()
    return proxy
