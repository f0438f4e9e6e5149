"""Keeps an agent's slots busy: asks for leases, runs them, sends their settlements.

Three things overlap. While ``slots`` objects are in the handler, as many again are fetched ahead, and the ones before
are published and settled. All of it is bounded: at most ``2 · slots`` leases before publishing, ``4 · slots`` in all.

Two loops call the control plane. One long poll at most waits for work. A settlement never waits for that poll: it goes
out at once in a request of its own, which also asks for the next lease when no poll is under way. While every slot is
busy and something is being published, the poll holds back, so that the settlement to come asks for work in its place:
under load that is one round trip for each object instead of two.

The work ends when there was nothing to do for ``idle_seconds``, after ``drain`` (a signal, or a response that says so),
and with `Unauthorized`, `Orphaned` or `Unfit`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import structlog

from workers.client import LeaseLost, Rejected, Unauthorized, Unreachable
from workers.concurrency import end, first_of
from workers.handler_watch import HandlerWatch
from workers.heartbeat import Heartbeat
from workers.lease_task import LeaseTask, Stage, WorkerResources, failed
from workers.protocol import (
    MAX_LEASES,
    MAX_WAIT_SECONDS,
    Done,
    Lease,
    LeaseRequest,
    LeaseResponse,
    Released,
    Settlement,
    Welcome,
)
from workers.retry import Backoff
from workers.sandbox.errors import WorkerFault
from workers.slot_time import SlotTime

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """Limits and times that no other part of Yurt depends on."""

    max_faults: int = 3
    """Faults of this machine in a row after which the agent leaves."""
    pause_seconds: float = 5.0
    """Without new work after a fault; doubles with each."""
    abandon_seconds: float = 3.0
    """To tell the control plane which leases are released when leaving at once."""
    poll_seconds: float = 0.5
    """At least so long between two polls without work: a control plane that does not wait must not be flooded."""
    shortest_poll_seconds: float = 1.0
    """No proxy makes polls wait for less."""
    rejected_seconds: float = 10.0
    """Rest after a call that the control plane did not understand: its version may just be changing."""


class Orphaned(Exception):
    """The control plane has not answered for too long: it may have given up this machine already."""


class Unfit(Exception):
    """This machine cannot do the work: its disk is full, or no child process can be started."""


class Dispatcher:
    """One agent's work from its welcome until it leaves. Use on one event loop, and once."""

    def __init__(
        self, welcome: Welcome, resources: WorkerResources, settings: DispatcherSettings | None = None
    ) -> None:
        self._welcome = welcome
        self._resources = resources
        self._settings = settings or DispatcherSettings()
        self._tasks: dict[int, tuple[LeaseTask, asyncio.Task[Settlement | None]]] = {}
        """By fencing token, not by object: an object may be leased anew before its old task here has ended."""
        self._unsent: list[Settlement] = []
        self._released: set[int] = set()
        """Tokens of tasks that were cancelled to release their leases."""
        self._slot_time = SlotTime(welcome.slots)
        self._handlers = HandlerWatch(resources.handlers)
        self._handlers_changed = False
        """Whether the control plane has to be told so."""
        self._faults = 0
        self._patience_seconds = MAX_WAIT_SECONDS
        """Longest wait of a poll that what lies in between has been seen to allow."""
        self._draining = self._abandoned = self._requesting = self._paused = self._unfit = False
        self._had_result = False
        """Whether a result was settled: the start is over, of which loading models is a step."""
        self._busy_at = time.monotonic()
        self._changed = asyncio.Event()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(self) -> None:
        """Work until the agent is idle, drained or abandoned.

        Raises `Unauthorized`, `Orphaned` and `Unfit`. Cancels the tasks that still run.
        """
        try:
            await first_of(*self._loops(), self._failure(), self._finished())
        finally:
            await end([task for _, task in self._tasks.values()])
        if self._unfit:
            raise Unfit(f"{self._faults} faults of this machine in a row.")

    def _loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._poll(), self._settle(), self._watch(), self._watch_handlers()

    def drain(self, reason: str) -> None:
        """Take no more work, release what is not in the handler yet, finish the rest."""
        if not self._draining:
            _log.info("draining", reason=reason, runs=len(self._tasks), handling=self._count(Stage.HANDLING))
            self._draining = True
            if self._resources.services is not None:
                self._resources.services.changed = self._notify
                self._resources.services.drain()
            self._release(Stage.FETCHED)

    def abandon(self) -> None:
        """Release everything and leave at once."""
        self.drain("abandoned")
        self._release(Stage.PUBLISHING)
        asyncio.get_running_loop().call_later(self._settings.abandon_seconds, self._give_up)

    # ── requests for work, and settlements ──────────────────────────────────────────────────────────────────

    async def _poll(self) -> NoReturn:
        while True:
            await self._until(self._may_poll)
            # Cut by draining or a pause: the control plane grants nothing to a connection that is closed, but for a
            # lease that is crossing the wire.
            changed, self._handlers_changed = self._handlers_changed, False
            await first_of(
                self._poll_once(changed),
                self._until(lambda: self._draining or self._paused or self._handlers_changed or self._on_trial()),
            )

    async def _poll_once(self, handlers_changed: bool) -> None:
        started_at = time.monotonic()
        wait = self._wait_seconds()
        response = await self._exchange(LeaseRequest(max=self._room(), wait=wait, handlers_changed=handlers_changed))
        if response is None or response.leases or self._draining:
            return
        if self._serves:
            self._busy_at = time.monotonic()
        if not self._tasks and time.monotonic() - self._busy_at >= self._idle_seconds:
            self.drain("idle")
        await asyncio.sleep(min(wait, self._settings.poll_seconds) - (time.monotonic() - started_at))

    async def _settle(self) -> NoReturn:
        while True:
            await self._until(lambda: bool(self._unsent))
            batch = self._unsent[:MAX_LEASES]
            room = 0 if self._requesting or self._draining or self._paused else self._room()
            if await self._exchange(LeaseRequest(max=room, settle=batch)) is None:
                await self._settle_singly(batch)
            # Only now: a settlement that is being sent still counts in ``_room``, and keeps the agent from leaving.
            del self._unsent[: len(batch)]
            for settlement in batch:
                self._resources.gate.settled(settlement.token)
            self._notify()

    async def _settle_singly(self, batch: list[Settlement]) -> None:
        """Send each settlement of a refused batch alone: a malformed one must not hold up the others.

        Its own lease runs out.
        """
        for settlement in batch if len(batch) > 1 else []:
            await self._exchange(LeaseRequest(max=0, settle=[settlement]))

    async def _exchange(self, request: LeaseRequest) -> LeaseResponse | None:
        """Send one request until it is answered. None when it was not understood."""
        self._requesting |= request.max > 0
        try:
            response: LeaseResponse = await Backoff().retrying()(self._ask, request)
        except (Rejected, LeaseLost) as error:
            _log.error("rejected", error=error.message)
            await asyncio.sleep(0 if request.settle else self._settings.rejected_seconds)
            return None
        finally:
            self._requesting &= request.max == 0
        self._accept(response)
        return response

    async def _ask(self, request: LeaseRequest) -> LeaseResponse:
        """Send a request once; wait for less from now on where a proxy in between gives up a long poll."""
        wait = min(request.wait, self._patience_seconds)
        started_at = time.monotonic()
        try:
            load_seconds = None if self._had_result else self._resources.load_seconds()
            now = {"wait": wait, "services_seen": self._services_seen, "load_seconds": load_seconds}
            response = await self._resources.client.lease(request.model_copy(update=now))
        except Unreachable as error:
            waited = time.monotonic() - started_at
            if error.gave_up and wait > self._settings.shortest_poll_seconds <= waited:
                self._patience_seconds = max(self._settings.shortest_poll_seconds, waited / 2)
                _log.warning(
                    "long polls are cut short",
                    error=error.message,
                    after_seconds=round(waited, 1),
                    poll_seconds=round(self._patience_seconds, 1),
                    hint=f"Have the proxy or load balancer allow an answer {MAX_WAIT_SECONDS + 5:g} s.",
                )
            raise
        self._had_result |= any(isinstance(settlement, Done) for settlement in request.settle)
        return response

    def _accept(self, response: LeaseResponse) -> None:
        if response.services is not None and self._resources.services is not None:
            self._resources.services.accept(response.services)
        for settled in response.settled:
            if not settled.accepted:
                _log.warning("settled-late", lease=settled.id, token=settled.token)
        # First: the leases of a response that drains are released, not started.
        if response.drain:
            self.drain("told to")
        for lease in response.leases:
            self._start(lease)
        self._notify()

    def _may_poll(self) -> bool:
        if self._draining or self._paused or self._requesting or self._room() == 0:
            return False
        settling = self._count(Stage.PUBLISHING) + len(self._unsent)
        return self._count(Stage.HANDLING) < self._welcome.slots or not settling

    def _room(self) -> int:
        """How many leases the agent can take now: none beside one on trial, where they could not begin."""
        if self._on_trial():
            return 0
        slots = self._welcome.slots
        ahead = len(self._tasks) - self._count(Stage.PUBLISHING)
        return max(0, min(2 * slots - ahead, 4 * slots - len(self._tasks) - len(self._unsent), MAX_LEASES))

    def _on_trial(self) -> bool:
        return any(lease_task.lease.trial for lease_task, _ in self._tasks.values())

    def _wait_seconds(self) -> float:
        """How long a poll may wait: no longer than until the agent would leave as idle."""
        idle = self._idle_seconds
        longest = min(MAX_WAIT_SECONDS, self._longest_silence_seconds, idle)
        if self._tasks or self._unsent or self._serves:
            return longest
        return min(longest, max(self._busy_at + idle - time.monotonic(), 0.0))

    @property
    def _serves(self) -> bool:
        """Whether the agent runs a service. The control plane says when it has done so for long enough."""
        return self._resources.services is not None and self._resources.services.active

    @property
    def _services_seen(self) -> str:
        return "" if self._resources.services is None else self._resources.services.digest

    @property
    def _idle_seconds(self) -> float:
        """Time without a lease after which the agent leaves; endless where it stays."""
        return math.inf if self._welcome.idle_seconds is None else self._welcome.idle_seconds

    @property
    def _longest_silence_seconds(self) -> float:
        """Each response proves that the control plane is there: call three times before it seems gone."""
        return self._welcome.orphan_seconds / 3

    # ── leases at work ──────────────────────────────────────────────────────────────────────────────────────

    def _start(self, lease: Lease) -> None:
        if self._draining:
            self._unsent.append(Released(id=lease.id, token=lease.token))
        elif lease.token not in self._tasks:
            self._cancel_older(lease)
            heartbeat = Heartbeat(lease, self._resources.client, longest_beat_seconds=self._longest_silence_seconds)
            lease_task = LeaseTask(lease, heartbeat, self._resources, self._slot_time.begin(), self._notify)
            task = asyncio.create_task(self._run(lease_task, heartbeat))
            task.add_done_callback(partial(self._ended, lease_task))
            self._tasks[lease.token] = lease_task, task

    def _cancel_older(self, lease: Lease) -> None:
        """Stop the work under an older token of the same object: its settlement would be refused."""
        for older, task in self._tasks.values():
            if older.lease.id == lease.id:
                task.cancel()

    async def _run(self, lease_task: LeaseTask, heartbeat: Heartbeat) -> Settlement | None:
        """Run a lease task for as long as its heartbeat holds. None when there is nothing to settle."""
        lease = lease_task.lease
        structlog.contextvars.bind_contextvars(
            lease=lease.id, token=lease.token, pipeline=lease.pipeline, key=lease.key
        )
        _log.info("leased", attempt=lease.attempt)
        try:
            return await first_of(lease_task.run(), heartbeat.renew())
        except LeaseLost as lost:
            _log.warning("lease-lost", error=lost.message)
            return None
        except Unauthorized as refused:
            self._fail(refused)
            return None
        except Rejected as error:
            return failed(lease, "protocol", error.message, retry=True)
        except (WorkerFault, OSError) as fault:
            self._pause_after(fault)
            return Released(id=lease.id, token=lease.token, cause="machine")
        except Exception:
            _log.exception("agent-fault")
            return failed(lease, "agent-fault", "The worker has a fault of its own; see its log.", retry=True)

    def _ended(self, lease_task: LeaseTask, task: asyncio.Task[Settlement | None]) -> None:
        lease = lease_task.lease
        settlement = None if task.cancelled() else task.result()
        if task.cancelled() and lease.token in self._released:
            settlement = Released(id=lease.id, token=lease.token)
        if settlement is None:
            self._resources.gate.settled(lease.token)
        else:
            self._unsent.append(settlement)
            _log_settlement(lease, settlement)
        if isinstance(settlement, Done):
            self._faults = 0
        elif isinstance(settlement, Released) and settlement.without_handler:
            self._handlers.begin()
        self._released.discard(lease.token)
        del self._tasks[lease.token]
        self._slot_time.end()
        self._busy_at = time.monotonic()
        self._notify()

    def _release(self, latest: Stage) -> None:
        """Cancel the tasks that have come no further than ``latest``, and release their leases."""
        for token, (lease_task, task) in self._tasks.items():
            if lease_task.stage <= latest:
                self._released.add(token)
                task.cancel()
        self._notify()

    def _pause_after(self, fault: Exception) -> None:
        """Take no work for a while after a fault of this machine; leave when that has not helped."""
        _log.error("worker-fault", error=str(fault))
        if self._paused:  # the tasks beside it met the same fault: one full disk is not a row of faults
            return
        self._faults += 1
        if self._faults >= self._settings.max_faults:
            self._unfit = True
            self.drain("unfit")
            return
        self._paused = True
        pause = self._settings.pause_seconds * 2 ** (self._faults - 1)
        # No longer than the control plane may be silent: without a request it would seem gone.
        asyncio.get_running_loop().call_later(min(pause, self._longest_silence_seconds), self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._notify()

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> NoReturn:
        """Raise `Orphaned` once the control plane has not answered for ``orphan_seconds``."""
        orphan_seconds = self._welcome.orphan_seconds
        # Not a poll: each sleep ends at the earliest moment at which the time can have run out.
        while (left := self._resources.client.answered_at + orphan_seconds - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        raise Orphaned(f"The control plane has not answered for {orphan_seconds:g} s.")

    async def _watch_handlers(self) -> NoReturn:
        """Ask for work at once when a handler that could not run may be able to now."""
        while True:
            await self._handlers.changed()
            _log.info("handlers-changed")
            self._handlers_changed = True
            self._notify()

    async def _failure(self) -> None:
        await self._fatal

    async def _finished(self) -> None:
        await self._until(lambda: self._abandoned or (self._draining and not self._is_busy))

    @property
    def _is_busy(self) -> bool:
        return bool(self._tasks or self._unsent or self._serves)

    def _fail(self, error: Exception) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _give_up(self) -> None:
        self._abandoned = True
        self._notify()

    # ── changes of state ────────────────────────────────────────────────────────────────────────────────────

    def _count(self, stage: Stage) -> int:
        return sum(lease_task.stage is stage for lease_task, _ in self._tasks.values())

    def _notify(self) -> None:
        # A new event each time, not ``clear``: every waiter sees each change, in whichever order they run.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


def _log_settlement(lease: Lease, settlement: Settlement) -> None:
    fields = settlement.model_dump(include={"outcome", "reason", "message", "retry", "seconds", "unavailable"})
    _log.info("ended", lease=lease.id, token=lease.token, pipeline=lease.pipeline, key=lease.key, **fields)
