"""A provider whose answers a test chooses, for code that only asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from webhook.fleet.providers import Instance, MintOrder, Offer, ProviderFinding


@dataclass(slots=True)
class AskedProvider:
    """Answers with what it is given, raises it, or hangs. It can mint nothing."""

    offered: Sequence[Offer] = ()
    found: Sequence[ProviderFinding] = ()
    listed: Sequence[Instance] = ()
    error: Exception | None = None
    hangs: bool = False
    closed: list[bool] = field(default_factory=list)
    lag_seconds: float = 0.0
    offer_seconds: float = 60.0

    async def offers(self) -> Sequence[Offer]:
        await self._answer()
        return self.offered

    async def check(self) -> Sequence[ProviderFinding]:
        await self._answer()
        return self.found

    async def boot_log(self, label: str) -> str:
        await self._answer()
        return f"log of {label}"

    async def list(self) -> Sequence[Instance]:
        await self._answer()
        return self.listed

    async def mint(self, order: MintOrder) -> str:
        raise AssertionError(f"nothing may be rented: {order}")

    async def slay(self, instance: Instance) -> None:
        raise AssertionError(f"nothing may be destroyed: {instance}")

    async def aclose(self) -> None:
        self.closed.append(True)

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Future()
        if self.error is not None:
            raise self.error
