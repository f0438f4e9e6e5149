"""Finds ways to machines whose tunnel does not end at this replica: at an address of their own."""

from __future__ import annotations

from collections.abc import Mapping

from webhook.ledger.services import ServingMachine
from webhook.pool_settings import Pool
from webhook.proxy.direct_machine import DirectMachines
from webhook.proxy.exchange import ServiceMachine
from webhook.proxy.orders import OrderBook
from webhook.service_settings import Service


class MachineReach:
    """This replica's ways that lead through no tunnel of its own."""

    def __init__(self, services: Mapping[str, Service], pools: Mapping[str, Pool], orders: OrderBook) -> None:
        self._services = services
        self._pools = pools
        self._orders = orders
        self._direct = DirectMachines()

    def way(self, machine: ServingMachine) -> ServiceMachine | None:
        """The way to a machine that serves a service; None: there is none."""
        service = self._services.get(machine.service)
        if service is None or service.way != "direct":
            return None
        local = self._pools[service.pool].provider == "local"
        return self._direct.way(machine, self._orders.direct_token(machine.label), local=local)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
