"""Runs the pretend market's instances: each that is running is a worker process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

from infra.market.contracts import MarketContract
from infra.market.market import Market
from webhook.fleet.providers import Instance, MintOrder, Offer, ProviderError
from webhook.fleet.providers.local import LocalProvider
from workers.own_process import own_process

_LOOK_SECONDS = 0.1
_CLOSE_SECONDS = 1.0
"""For workers to leave when the market closes."""
_FREE = Offer("", Decimal(0))


class MarketHosts:
    """The processes of one market.

    Args:
        market: Whose instances they are.
        owner: What their labels begin with.
        folder: For the workers' files and logs.
        argv: The worker's command.

    """

    def __init__(
        self, market: Market, owner: str, folder: Path, *, argv: Sequence[str] = tuple(own_process("workers"))
    ) -> None:
        self._market = market
        self._processes = LocalProvider(owner, folder, argv=argv, close_seconds=_CLOSE_SECONDS)
        self._started: dict[int, MarketContract] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start and end processes as the market's instances do, for the length of the ``with`` block."""
        looking = asyncio.create_task(self._look_after())
        try:
            yield
        finally:
            looking.cancel()
            outcome, *_ = await asyncio.gather(looking, *self._ending, return_exceptions=True)
            await self._processes.aclose()
            if isinstance(outcome, Exception):  # not cancelled: it had failed before
                raise outcome

    async def _look_after(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        now = self._market.clock()
        for contract in self._market.living():
            silent = contract.offer.machine_id in self._market.faults.dead
            if contract.id not in self._started and contract.state(now) == "running" and not silent:
                await self._start(contract)
        lives = {instance.label for instance in await self._processes.list()}
        for contract in list(self._started.values()):
            if contract.ended is not None:
                self._end(contract)
            elif contract.label not in lives:
                contract.status = "exited"
                self._market.logs[contract.id] = await self._processes.boot_log(contract.label)

    async def _start(self, contract: MarketContract) -> None:
        environment = contract.body["env"]
        self._started[contract.id] = contract
        order = MintOrder(contract.label, "market", _FREE, environment["YURT_URL"], environment["YURT_TOKEN"])
        try:
            await self._processes.mint(order)
        except ProviderError as error:
            contract.status = "exited"
            self._market.logs[contract.id] = str(error)

    def _end(self, contract: MarketContract) -> None:
        """Have the process end. It is not waited for: it costs nothing any more."""
        del self._started[contract.id]
        ending = asyncio.create_task(self._processes.slay(Instance(contract.label, "")))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
