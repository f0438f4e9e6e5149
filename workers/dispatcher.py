"""Keeps an agent's places busy: asks for leases, runs them, settles them.

Three things overlap. While ``slots`` objects are in the handler, as many again are fetched ahead, and those
before are published and settled. All of it is bounded: at most ``2 · slots`` leases before publishing, ``4 ·
slots`` in all.

Two loops talk to the control plane. One long poll at most waits for work; a settlement never waits for it,
but goes out at once in a request of its own, which asks for the next lease in the same round trip when no
poll is under way. While every place is busy and something is being published, the poll holds back for that
settlement to ask in its stead.

What ends it: nothing to do for ``idle_seconds``, ``drain`` (a signal, or the control plane's word),
`Unauthorized`, `Orphaned` when the control plane has been gone too long, `Unfit` when this machine cannot
work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import structlog

from workers.client import LeaseLost, Rejected, Unauthorized
from workers.concurrency import end, first_of
from workers.heartbeat import Heartbeat
from workers.lease_task import LeaseTask, Stage, Tools, failed
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
from workers.sandbox import WorkerFault

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """Times that matter to nobody but the agent itself."""

    faults: int = 3
    """Faults of this machine in a row after which it leaves."""
    pause_seconds: float = 5.0
    """Without new work after a fault; doubles with each."""
    abandon_seconds: float = 3.0
    """To tell the control plane what is given back when leaving at once."""
    poll_seconds: float = 0.5
    """An empty answer that came sooner is followed by a rest: a peer that does not wait must not be
    flooded."""
    rejected_seconds: float = 10.0
    """Rest after a call that the control plane did not understand: it may just be changing its version."""


class Orphaned(Exception):
    """The control plane has been gone for too long. Nobody can want this machine's work any more."""


class Unfit(Exception):
    """This machine cannot do the work: its disk is full, or no child process can be started."""


class Dispatcher:
    """One agent's work from its welcome to its leave. Use on one event loop, and once."""

    def __init__(self, welcome: Welcome, tools: Tools, pace: Pace | None = None) -> None:
        self._welcome = welcome
        self._tools = tools
        self._pace = pace or Pace()
        self._runs: dict[int, tuple[LeaseTask, asyncio.Task[Settlement | None]]] = {}
        """By fencing token: an object may be leased anew before its old lease here has ended."""
        self._outbox: list[Settlement] = []
        self._released: set[int] = set()
        """Tokens of runs that were cancelled to be given back."""
        self._faults = 0
        self._leaving = self._given_up = self._asking = self._paused = self._unfit = False
        self._busy_at = time.monotonic()
        self._changed = asyncio.Event()
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(self) -> None:
        """Until there is nothing more to do.

        Raises `Unauthorized`, `Orphaned` and `Unfit`; kills what still runs.
        """
        try:
            await first_of(self._poll(), self._settle(), self._watch(), self._failure(), self._left())
        finally:
            await end([task for _, task in self._runs.values()])
        if self._unfit:
            raise Unfit(f"{self._faults} faults of this machine in a row.")

    def drain(self, reason: str) -> None:
        """Take no more work, give back what is not in the handler yet, finish the rest."""
        if not self._leaving:
            _log.info("draining", reason=reason, runs=len(self._runs), handling=self._count(Stage.HANDLING))
            self._leaving = True
            self._release(Stage.FETCHED)

    def abandon(self) -> None:
        """Give everything back and leave at once."""
        self.drain("abandoned")
        self._release(Stage.PUBLISHING)
        asyncio.get_running_loop().call_later(self._pace.abandon_seconds, self._give_up)

    # ── asking and settling ─────────────────────────────────────────────────────────────────────────────────

    async def _poll(self) -> NoReturn:
        while True:
            await self._until(self._may_ask)
            # Cut by leaving or a pause. Who hangs up is granted nothing, but for what just crosses the wire.
            await first_of(self._ask(), self._until(lambda: self._leaving or self._paused))

    async def _ask(self) -> None:
        asked_at = time.monotonic()
        wait = self._wait_seconds()
        answer = await self._exchange(LeaseRequest(max=self._room(), wait=wait))
        if answer is None or answer.leases or self._leaving:
            return
        if not self._runs and time.monotonic() - self._busy_at >= self._welcome.idle_seconds:
            self.drain("idle")
        await asyncio.sleep(min(wait, self._pace.poll_seconds) - (time.monotonic() - asked_at))

    async def _settle(self) -> NoReturn:
        while True:
            await self._until(lambda: bool(self._outbox))
            batch = self._outbox[:MAX_LEASES]
            room = 0 if self._asking or self._leaving or self._paused else self._room()
            if await self._exchange(LeaseRequest(max=room, settle=batch)) is None:
                await self._settle_singly(batch)
            del self._outbox[: len(batch)]
            self._notify()

    async def _settle_singly(self, batch: list[Settlement]) -> None:
        """One settlement that is not understood must not hold up the others. Its lease runs out by itself."""
        for settlement in batch if len(batch) > 1 else []:
            await self._exchange(LeaseRequest(max=0, settle=[settlement]))

    async def _exchange(self, request: LeaseRequest) -> LeaseResponse | None:
        """One request, repeated until it is answered. None when it was not understood."""
        self._asking |= request.max > 0
        try:
            answer: LeaseResponse = await Backoff().retrying()(self._tools.control.lease, request)
        except (Rejected, LeaseLost) as error:
            _log.error("rejected", error=error.message)
            await asyncio.sleep(0 if request.settle else self._pace.rejected_seconds)
            return None
        finally:
            self._asking &= request.max == 0
        self._take(answer)
        return answer

    def _take(self, answer: LeaseResponse) -> None:
        for settled in answer.settled:
            if not settled.accepted:
                _log.warning("settled-late", lease=settled.id, token=settled.token)
        if answer.drain:
            self.drain("told to")
        for lease in answer.leases:
            self._start(lease)
        self._notify()

    def _may_ask(self) -> bool:
        if self._leaving or self._paused or self._asking or self._room() == 0:
            return False
        settling = self._count(Stage.PUBLISHING) + len(self._outbox)
        return self._count(Stage.HANDLING) < self._welcome.slots or not settling

    def _room(self) -> int:
        slots = self._welcome.slots
        ahead = len(self._runs) - self._count(Stage.PUBLISHING)
        return max(0, min(2 * slots - ahead, 4 * slots - len(self._runs) - len(self._outbox), MAX_LEASES))

    def _wait_seconds(self) -> float:
        idle = self._welcome.idle_seconds
        longest = min(MAX_WAIT_SECONDS, self._longest_silence_seconds, idle)
        if self._runs or self._outbox:
            return longest
        return min(longest, max(self._busy_at + idle - time.monotonic(), 0.0))

    @property
    def _longest_silence_seconds(self) -> float:
        """Every answer proves that the control plane is there: ask three times before it seems gone."""
        return self._welcome.orphan_seconds / 3

    # ── running ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, lease: Lease) -> None:
        if self._leaving:
            self._outbox.append(Released(id=lease.id, token=lease.token))
        elif lease.token not in self._runs:
            for old, task in self._runs.values():
                if old.lease.id == lease.id:  # leased anew: what is done under the old token is in vain
                    task.cancel()
            tenure = Heartbeat(lease, self._tools.control, longest_beat_seconds=self._longest_silence_seconds)
            run = LeaseTask(lease, tenure, self._tools, self._notify)
            task = asyncio.create_task(self._outcome(run))
            task.add_done_callback(partial(self._ended, run))
            self._runs[lease.token] = run, task

    async def _outcome(self, run: LeaseTask) -> Settlement | None:
        """Run to the end. None when there is nothing to settle."""
        lease = run.lease
        structlog.contextvars.bind_contextvars(
            lease=lease.id, token=lease.token, pipeline=lease.pipeline, key=lease.key
        )
        _log.info("leased", attempt=lease.attempt)
        try:
            return await first_of(run.perform(), run.tenure.keep())
        except LeaseLost as lost:
            _log.warning("lease-lost", error=lost.message)
            return None
        except Unauthorized as refused:
            self._fail(refused)
            return None
        except Rejected as error:
            return failed(lease, "protocol", error.message, retry=True)
        except (WorkerFault, OSError) as fault:
            self._fault(fault)
            return Released(id=lease.id, token=lease.token)
        except Exception:
            _log.exception("agent-fault")
            return failed(lease, "agent-fault", "The worker has a fault of its own; see its log.", retry=True)

    def _ended(self, run: LeaseTask, task: asyncio.Task[Settlement | None]) -> None:
        lease = run.lease
        settlement = None if task.cancelled() else task.result()
        if task.cancelled() and lease.token in self._released:
            settlement = Released(id=lease.id, token=lease.token)
        if settlement is not None:
            self._outbox.append(settlement)
            _log_outcome(lease, settlement)
        if isinstance(settlement, Done):
            self._faults = 0
        self._released.discard(lease.token)
        del self._runs[lease.token]
        self._busy_at = time.monotonic()
        self._notify()

    def _release(self, latest: Stage) -> None:
        for token, (run, task) in self._runs.items():
            if run.stage <= latest:
                self._released.add(token)
                task.cancel()
        self._notify()

    def _fault(self, fault: Exception) -> None:
        """This machine, not the object, is to blame: rest for a while, leave when that does not help."""
        _log.error("worker-fault", error=str(fault))
        if self._paused:  # what ran beside it met the same fault
            return
        self._faults += 1
        if self._faults >= self._pace.faults:
            self._unfit = True
            self.drain("unfit")
            return
        self._paused = True
        pause = self._pace.pause_seconds * 2 ** (self._faults - 1)
        asyncio.get_running_loop().call_later(min(pause, self._longest_silence_seconds), self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._notify()

    # ── ending ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> NoReturn:
        patience = self._welcome.orphan_seconds
        # Not a poll: each sleep ends when there may be something to see.
        while (left := self._tools.control.answered_at + patience - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        raise Orphaned(f"The control plane has not answered for {patience:g} s.")

    async def _failure(self) -> None:
        await self._fatal

    async def _left(self) -> None:
        await self._until(lambda: self._given_up or (self._leaving and not self._runs and not self._outbox))

    def _fail(self, error: Exception) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _give_up(self) -> None:
        self._given_up = True
        self._notify()

    # ── what changed ────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, stage: Stage) -> int:
        return sum(run.stage is stage for run, _ in self._runs.values())

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


def _log_outcome(lease: Lease, settlement: Settlement) -> None:
    facts = settlement.model_dump(include={"outcome", "reason", "message", "retry", "seconds"})
    _log.info("ended", lease=lease.id, token=lease.token, pipeline=lease.pipeline, key=lease.key, **facts)
