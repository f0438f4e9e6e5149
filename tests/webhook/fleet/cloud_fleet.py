"""A provider that does what a test sets, and an autoscaler over it, in a fleet in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.webhook.fleet.fleet_memory import MachineRow, MemoryFleet
from webhook.fleet.activity import PoolActivity
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers import Instance, MintOrder, Offer, Provider, ProviderError, ProviderFinding
from webhook.ledger.machines import MachineState
from webhook.pool_settings import Pool

URL = "http://127.0.0.1:1"
OFFER = Offer("", Decimal(0))


def pool(**fields: Any) -> Pool:
    return Pool(**{"provider": "local", "limit": 3, "slots": 1, "boot_seconds": 300, **fields})


@dataclass
class Cloud:
    """A provider somewhere else, which does what the test sets."""

    lag_seconds: float = 0.0
    offer_seconds: float = 60.0
    there: dict[str, Instance] = field(default_factory=dict)
    slain: list[str] = field(default_factory=list)
    most: int = 0
    on_mint: Callable[[], Awaitable[None]] | None = None
    after_mint: Callable[[], Awaitable[None]] | None = None
    on_slay: Callable[[], Awaitable[None]] | None = None
    on_list: Callable[[], Awaitable[Sequence[Instance] | None]] | None = None
    on_offers: Callable[[], Awaitable[Sequence[Offer]]] | None = None
    orders: list[MintOrder] = field(default_factory=list)

    async def mint(self, order: MintOrder) -> str:
        self.orders.append(order)
        if self.on_mint:
            await self.on_mint()
        self.there[order.label] = Instance(order.label, f"ref-{order.label}")
        self.most = max(self.most, len(self.there))
        if self.after_mint:
            await self.after_mint()
        return f"ref-{order.label}"

    async def slay(self, instance: Instance) -> None:
        self.slain.append(instance.label)
        if self.on_slay:
            await self.on_slay()
        self.there.pop(instance.label, None)

    async def list(self) -> Sequence[Instance]:
        shown = await self.on_list() if self.on_list else None
        return list(self.there.values()) if shown is None else shown

    async def boot_log(self, label: str) -> str:
        return f"/logs/{label}.log\nno route to host"

    async def offers(self) -> Sequence[Offer]:
        return await self.on_offers() if self.on_offers else [OFFER]

    async def check(self) -> Sequence[ProviderFinding]:
        return []

    async def aclose(self) -> None: ...


async def fails(error: Exception) -> None:
    raise error


async def hangs() -> None:
    await asyncio.Event().wait()


async def shows_nothing() -> Sequence[Instance]:
    return []


async def list_fails() -> Sequence[Instance]:
    raise ProviderError("no route to host")


async def list_hangs() -> Sequence[Instance]:
    await hangs()
    return []


class CloudFleet:
    """An autoscaler over a cloud. A second of the ledger's clock passes with each turn."""

    def __init__(self, a: Pool | None = None, *, lag_seconds: float = 0.0, call_seconds: float = 30.0) -> None:
        self.cloud = Cloud(lag_seconds)
        self.fleet = MemoryFleet()
        self.call_seconds = call_seconds
        self.tick_seconds = 0.01
        self.start({"a": a or pool(provider="cloud")})

    def start(self, pools: dict[str, Pool], **others: Provider) -> None:
        self.autoscaler = Autoscaler(
            self.fleet,
            pools,
            {"cloud": self.cloud, **others},
            url=URL,
            tick_seconds=self.tick_seconds,
            call_seconds=self.call_seconds,
            clock=lambda: self.fleet.now,
        )

    @property
    def status(self) -> PoolActivity:
        return self.autoscaler.pools["a"]

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await self.autoscaler.tick()
            await self.fleet.advance(1)

    async def ready(self, count: int) -> list[MachineRow]:
        """So many machines, all of which have called home."""
        await self.fleet.upload("a", count)
        await self.turns(2)
        self.call_home()
        rows = self.fleet.alive(MachineState.READY)
        assert len(rows) == count
        return rows

    def call_home(self) -> None:
        for row in self.fleet.rows.values():
            if row.label in self.cloud.there:
                self.fleet.hello(row.label, row.token)
