"""Queues the requests of one service at one replica, and gives each a slot of a machine, the least loaded one first.

The replica holds slots of machines (`webhook.proxy.sharing` takes them from the ledger and gives them back): while it
holds one, a request costs no round trip to the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from webhook.ledger.services import ServiceLoad
from webhook.proxy.exchange import MachineLost, ServiceMachine
from webhook.service_settings import Service

REFUSED_SECONDS = 0.5
"""For so long a machine that has refused a request is given none: the next one would be refused too."""


class NoSlot(Exception):
    """A request gets no machine. The message says why, and what to do."""


class QueueFull(NoSlot):
    """As many requests wait as are allowed."""


class WaitedTooLong(NoSlot):
    """No machine was free in time."""


class NoMachine(NoSlot):
    """There is no machine, and none will come soon."""


@dataclass(slots=True)
class HeldMachine:
    """A machine of the service, with the slots of it that this replica holds."""

    worker_id: int
    way: ServiceMachine | None
    """None: there is none from here now."""
    local: bool
    """Whether the way leads through no other replica."""
    draining: bool = False
    is_ready: bool = True
    """Whether its server takes requests, as far as its worker has said: one that is replaced does not for a while."""
    refused_until: float = -math.inf
    free: dict[int, float] = field(default_factory=dict)
    """Slots that no request has, and since when."""
    busy: set[int] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        """Whether it takes requests: slots of one that does not are of no use."""
        return self.way is not None and self.is_ready and not self.draining


class Turn(NamedTuple):
    """One request's right to a slot of a machine."""

    machine: HeldMachine
    slot: int
    way: ServiceMachine


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[Turn]
    avoid: Collection[int]
    since: float
    """When it came to the queue, for the first time where a machine has refused it since."""


class QueueTurn:
    """A slot of a machine for the length of an ``async with`` block.

    A machine that refuses the request, which ends the block with MachineLost, is given none for a moment.
    """

    def __init__(self, queue: ServiceQueue, avoid: Collection[int], since: float | None) -> None:
        self._queue = queue
        self._avoid = avoid
        self._since = since
        self._turn: Turn

    async def __aenter__(self) -> Turn:
        self._turn = await self._queue.take(self._avoid, self._since)
        return self._turn

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, MachineLost) and error.unsent:
            self._queue.refused_by(self._turn.machine)
        self._queue.give_back(self._turn)


class ServiceQueue:
    """The requests of one service that wait or are under way at this replica. Use on one event loop."""

    def __init__(
        self, name: str, settings: Service, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``wake`` is called when the replica's slots are not enough."""
        self.name = name
        self.settings = settings
        self.machines: dict[int, HeldMachine] = {}
        self.retired = False
        """Whether the service is defined no more: requests that are under way end, and no others come."""
        self.surrender = 0
        """So many slots go to other replicas as soon as their requests end."""
        self.in_flight = 0
        self.arrived = 0
        """Requests that have come and are not in the ledger's count of what arrives yet."""
        self._wake = wake
        self._clock = clock
        self._waiters: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiters)

    @property
    def has_ended(self) -> bool:
        """Whether the service was removed, and nothing of it is left here."""
        return self.retired and not self.held and not self.in_flight

    @property
    def load(self) -> ServiceLoad:
        """Requests that wait, and that are under way."""
        return ServiceLoad(self.waiting, self.in_flight)

    @property
    def shortage(self) -> int:
        """Slots that are missing for the requests that wait."""
        return max(0, self.waiting - sum(len(each.free) for each in self.machines.values() if self.may_use(each)))

    @property
    def now(self) -> float:
        """The time by the queue's clock, in seconds."""
        return self._clock()

    @property
    def held(self) -> int:
        """Slots that this replica holds."""
        return sum(len(each.free) + len(each.busy) for each in self.machines.values())

    @property
    def waited_seconds(self) -> float:
        """For how long the first request has waited."""
        return self._clock() - self._waiters[0].since if self._waiters else 0.0

    def turn(self, avoid: Collection[int] = (), since: float | None = None) -> QueueTurn:
        """Wait for a slot of a machine, none of those to avoid, and have it for the length of an ``async with`` block.

        ``since``: when a request that a machine has refused came to the queue. It is the next one then, and waits for
        what is left of its time. Raises QueueFull, WaitedTooLong, NoMachine.
        """
        return QueueTurn(self, avoid, since)

    async def take(self, avoid: Collection[int], since: float | None = None) -> Turn:
        """Wait for a slot of a machine. It is to be given back. Raises QueueFull, WaitedTooLong, NoMachine."""
        if self.retired:
            raise NoMachine(f"service {self.name} was removed")
        if since is None:
            self.arrived += 1
        turn = self._found(avoid) or await self._waited(avoid, since)
        self.in_flight += 1
        return turn

    def may_use(self, machine: HeldMachine) -> bool:
        """Whether a machine can be given a request now, where a slot of it is free."""
        return machine.is_open and machine.refused_until <= self._clock()

    def refused_by(self, machine: HeldMachine) -> None:
        """Note that a machine has refused a request."""
        machine.refused_until = self._clock() + REFUSED_SECONDS

    def give_back(self, turn: Turn) -> None:
        """End a request's right to its slot."""
        self.in_flight -= 1
        self._ended(turn)

    def refuse(self, error: NoSlot) -> None:
        """End the wait of every request that waits."""
        for waiter in self._waiters:
            if not waiter.turn.done():
                waiter.turn.set_exception(error)
        self._waiters.clear()

    def retire(self) -> None:
        """End the service at this replica: requests that wait are refused, and slots given back as they become free."""
        self.retired = True
        self.refuse(NoMachine(f"service {self.name} was removed"))

    def serve(self) -> None:
        """Give free slots to requests that wait, in their order."""
        if not self._waiters:
            return
        waiting, self._waiters = self._waiters, deque()
        for waiter in waiting:
            if waiter.turn.done():
                continue
            turn = self._found(waiter.avoid)
            if turn is None:
                self._waiters.append(waiter)
            else:
                waiter.turn.set_result(turn)

    def lost_way(self, worker_id: int) -> None:
        """Note that there is no way to a machine from here now."""
        if worker_id in self.machines:
            self.machines[worker_id].way = None

    def releasable(self, unused_seconds: float) -> list[tuple[int, int, float]]:
        """Take away the slots that nothing has used for so long, or that others are to have: machine, slot, since."""
        now, released = self._clock(), []
        for machine in self.machines.values():
            for slot, since in [*machine.free.items()]:
                unused = now - since
                if self.retired or self.surrender > 0 or not machine.is_open or unused >= unused_seconds:
                    self.surrender = max(0, self.surrender - 1)
                    del machine.free[slot]
                    released.append((machine.worker_id, slot, unused))
        return released

    def _found(self, avoid: Collection[int]) -> Turn | None:
        """Take a slot of the least loaded machine."""
        held = self.machines.values()
        usable = [each for each in held if each.free and each.worker_id not in avoid and self.may_use(each)]
        if not usable:
            return None
        machine = min(usable, key=lambda each: (len(each.busy), not each.local)) if len(usable) > 1 else usable[0]
        slot, _ = machine.free.popitem()
        machine.busy.add(slot)
        assert machine.way is not None
        return Turn(machine, slot, machine.way)

    async def _waited(self, avoid: Collection[int], since: float | None) -> Turn:
        settings = self.settings
        if since is None and self.waiting >= settings.queue:
            raise QueueFull(f"{self.waiting} requests wait for service {self.name} already: ask again later")
        now, turn = self._clock(), asyncio.get_running_loop().create_future()
        if since is None:
            waiter = _Waiter(turn, avoid, now)
            self._waiters.append(waiter)
        else:
            waiter = _Waiter(turn, avoid, since)
            self._waiters.appendleft(waiter)
        if self.waiting == 1:
            self._wake()
        try:
            async with asyncio.timeout(settings.wait_seconds - (now - waiter.since)):
                return await asyncio.shield(waiter.turn)
        except TimeoutError:
            self._leave(waiter)
            raise WaitedTooLong(
                f"no machine of service {self.name} was free within {settings.wait_seconds:g} s: ask again, raise "
                f"wait_seconds, or the limit of pool {settings.pool}"
            ) from None
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter) -> None:
        """Take a request out of the queue, and give back what it was given in the very moment when it left."""
        with contextlib.suppress(ValueError):
            self._waiters.remove(waiter)
        if not waiter.turn.cancel() and waiter.turn.exception() is None:
            self._ended(waiter.turn.result())

    def _ended(self, turn: Turn) -> None:
        machine = turn.machine
        if turn.slot not in machine.busy:  # lost meanwhile
            return
        machine.busy.discard(turn.slot)
        machine.free[turn.slot] = self._clock()
        if self.surrender > 0 or self.retired:
            self._wake()
        else:
            self.serve()
