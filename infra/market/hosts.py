"""Runs the pretend market's instances: each that is running is a worker process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
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
        folder: For the workers' files and logs, a folder for each instance.
        argv: The worker's command.

    """

    def __init__(
        self, market: Market, owner: str, folder: Path, *, argv: Sequence[str] = tuple(own_process("workers"))
    ) -> None:
        self._market = market
        self._owner = owner
        self._folder = folder
        self._argv = argv
        self._started: dict[int, LocalProvider] = {}
        """By contract."""
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start and end processes as the market's instances do, for the length of the ``with`` block."""
        looking = asyncio.create_task(self._look_after())
        try:
            yield
        finally:
            looking.cancel()
            closing = (processes.aclose() for processes in self._started.values())
            outcome, *_ = await asyncio.gather(looking, *closing, *self._ending, return_exceptions=True)
            if isinstance(outcome, Exception):  # not cancelled: it had failed before
                raise outcome

    async def _look_after(self) -> None:
        while True:
            for contract in list(self._market.contracts.values()):
                await self._look(contract)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, contract: MarketContract) -> None:
        processes = self._started.get(contract.id)
        if processes is None:
            if contract.ended is None and self._is_due(contract):
                await self._start(contract)
        elif contract.ended is not None:
            self._end(contract, processes)
        elif not await processes.list():
            contract.status = "exited"
            self._market.logs[contract.id] = await processes.boot_log(contract.label)

    def _is_due(self, contract: MarketContract) -> bool:
        dead = contract.offer.machine_id in self._market.faults.dead
        return contract.state(self._market.clock()) == "running" and not dead

    async def _start(self, contract: MarketContract) -> None:
        given = contract.body["env"]
        processes = self._started[contract.id] = LocalProvider(
            self._owner,
            self._folder / str(contract.id),
            argv=self._argv,
            environment=self._environment(contract),
            close_seconds=_CLOSE_SECONDS,
        )
        try:
            await processes.mint(MintOrder(contract.label, "market", _FREE, given["YURT_URL"], given["YURT_TOKEN"]))
        except ProviderError as error:
            contract.status = "exited"
            self._market.logs[contract.id] = str(error)

    def _environment(self, contract: MarketContract) -> Mapping[str, str]:
        """What the order gave it, and what the market itself puts into each instance."""
        return {
            **contract.body["env"],
            "CONTAINER_ID": str(contract.id),
            "CONTAINER_API_KEY": contract.key,
            # Where the key opens something: without it that is the real market.
            "YURT_SLAY_URL": f"{self._market.url}/api/v0",
        }

    def _end(self, contract: MarketContract, processes: LocalProvider) -> None:
        """Have the process end. It is not waited for: it costs nothing any more."""
        del self._started[contract.id]
        ending = asyncio.create_task(processes.slay(Instance(contract.label, "")))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
