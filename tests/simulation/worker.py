"""Simulated workers: the real lease tasks (fetch, handle, publish) with simulated connections, files and handler."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import httpx

from tests.simulation.plane import until_due
from tests.simulation.process import SimulatedProcess, meet_killer
from tests.simulation.store_clients import SimulatedBuckets, WorkerStore, lease_token
from workers.client import ControlPlaneClient, LeaseLost, Rejected
from workers.concurrency import first_of
from workers.handler_gate import HandlerGate
from workers.handlers import HandlerError, HandlerUnavailable, Job, OutputFile
from workers.heartbeat import Heartbeat
from workers.lease_task import LeaseTask, WorkerResources, failed
from workers.outage import OutageLog
from workers.protocol import Lease, LeaseRequest, LeaseResponse, Settlement
from workers.retry import Backoff
from workers.sandbox.opened import OpenedOutput, OpenedResult
from workers.slot_time import SlotTime

_HANDLE_SECONDS = (0.1, 6.0)
_ANSWER_FAULTS = ("refused", "request lost", "answer lost")
MOST_LIVES = 90
"""Workers of one history at most, those that were restarted counted again."""


class SimulatedFile:
    """A file or folder in memory."""

    def __init__(self, files: dict[str, bytes], name: str) -> None:
        self._files = files
        self.name = name

    def __truediv__(self, name: str) -> SimulatedFile:
        return SimulatedFile(self._files, f"{self.name}/{name}")

    @property
    def parent(self) -> SimulatedFile:
        return self

    def mkdir(self, mode: int = 0) -> None:
        pass

    def stat(self) -> Any:
        return type("Stat", (), {"st_size": len(self._files[self.name])})

    def write_bytes(self, content: bytes) -> None:
        self._files[self.name] = content

    def read_bytes(self) -> bytes:
        return self._files[self.name]

    @contextlib.contextmanager
    def open(self, mode: str) -> Any:
        content = io.BytesIO(b"" if "w" in mode else self._files[self.name])
        yield content
        if "w" in mode:
            self._files[self.name] = content.getvalue()


class SimulatedScratch:
    """Scratch folders in memory."""

    def folder(self, name: str) -> Any:
        return SimulatedFile({}, name)


class SimulatedSandbox:
    """The handler. Its outputs depend on the input's bytes alone, so that a result shows its input."""

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process

    @contextlib.asynccontextmanager
    async def child(self, _imports: tuple[Path, ...] = ()) -> AsyncIterator[SimulatedSandbox]:
        yield self

    async def printed(self) -> str:
        """What the last job printed: nothing, since no promise is about it."""
        return ""

    async def run(self, _handler: object, job: Job) -> OpenedResult:
        process = self._process
        world = process.world
        content = job.input.read_bytes().decode()
        token = lease_token.get()
        world.invariants.handled(process, job.key, content, token)
        await process.wait(world.draws.between(f"{process.name}/handle", *_HANDLE_SECONDS))
        await meet_killer(process, token, content, "handling")
        if world.draws.fault(f"{process.name}/handler-missing", world.settings.handler_missing):
            world.invariants.unavailable(token)
            raise HandlerUnavailable("There is no such module.")
        if world.draws.fault(f"{process.name}/handler", world.settings.handler_fault):
            retry = world.draws.chance(f"{process.name}/handler-again", 0.8)
            raise HandlerError("unreadable", "It cannot be read.", retry=retry)
        # Not every content has the same outputs.
        names = ("large.webp", "small.webp") if content != "C" else ("small.webp",)
        return OpenedResult(tuple(_opened(name, f"{name} of {content}") for name in names), {"content": content})


def _opened(name: str, text: str) -> OpenedOutput:
    return OpenedOutput(OutputFile(name, "image/webp"), io.BytesIO(text.encode()), len(text))


class _SilentOutage(OutageLog):
    """No log: faults of the network are noted where they are drawn."""

    def failed(self, error: BaseException) -> None:
        pass


class SimulatedControlPlaneClient(ControlPlaneClient):
    """The worker's real protocol client, with the connection simulated."""

    def __init__(self, process: SimulatedProcess, worker_id: int, gate: HandlerGate) -> None:
        self._process = process
        self._handling = gate.report
        self._worker_id = worker_id
        self._answer_seconds = 15.0
        self._outage = _SilentOutage("")
        self.answered_at = 0.0

    async def _send(self, path: str, body: Any) -> Any:
        process = self._process
        world, draws = process.world, process.world.draws
        await process.hop()
        what = path.rsplit("/", maxsplit=1)[-1]
        fault = ""
        if draws.fault(f"{process.name}/{what}", world.settings.network_fault):
            world.counts["network faults"] += 1
            fault = draws.choice(f"{process.name}/{what}-fault", _ANSWER_FAULTS)
            if world.tracing:
                world.note(f"{process.name}: {path}: {fault}")
        if fault == "refused":
            raise httpx.ConnectError("")
        if fault == "request lost":
            await process.never()
        answer = await self._reach(path, body.model_dump_json().encode())
        if fault == "answer lost":
            world.counts["lost answers"] += 1
            await process.never()
        await process.hop()
        return answer

    async def _reach(self, path: str, body: bytes) -> Any:
        """Send the request to a random living replica. If that dies meanwhile, no answer comes."""
        process = self._process
        await asyncio.sleep(process.transit())
        planes = [plane for plane in process.world.planes.values() if plane.process.alive]
        if not planes:
            raise httpx.ConnectError("")
        plane = process.world.draws.choice(f"{process.name}/replica", planes)
        task = plane.process.spawn(plane.call(str(self._worker_id), path, body))
        return await asyncio.shield(task)


async def run(process: SimulatedProcess, worker_id: int, buckets: SimulatedBuckets) -> None:
    """Run a worker until its process dies."""
    store = WorkerStore(process, buckets)
    gate = HandlerGate()
    world = process.world
    await asyncio.sleep(max(0.0, world.settings.honest_after - world.now))
    # A machine that died is another worker when it comes back.
    world.counts[process.name] += 1
    worker_id += world.settings.workers * (world.counts[process.name] - 1)
    assert worker_id <= MOST_LIVES, "more workers than the ledger has rows for"
    world.invariants.losses.agents[worker_id] = process
    control = SimulatedControlPlaneClient(process, worker_id, gate)
    resources = WorkerResources(control, store, SimulatedSandbox(process), SimulatedScratch(), None, gate)  # type: ignore[arg-type]
    # Two, since requests for leases cross each other: so do a trial and others.
    await asyncio.gather(*(process.spawn(_work(process, worker_id, control, resources)) for _ in range(2)))


async def _work(
    process: SimulatedProcess, worker_id: int, control: SimulatedControlPlaneClient, resources: WorkerResources
) -> NoReturn:
    """Ask for leases and settle them, as ``workers.dispatcher`` does, without end."""
    outbox: list[Settlement] = []
    while True:
        if not outbox:
            await until_due(process, "work", "trial", worker_id=worker_id)
        leases = await _exchange(process, control, resources, outbox, most=2)
        working = [process.spawn(_outcome(process, lease, control, resources)) for lease in leases]
        while working:
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            outbox += [settlement for task in working if task.done() and (settlement := task.result())]
            working = [task for task in working if not task.done()]
            if working and outbox:  # a trial may wait for these
                await _exchange(process, control, resources, outbox, most=0)


async def _exchange(
    process: SimulatedProcess,
    control: SimulatedControlPlaneClient,
    resources: WorkerResources,
    outbox: list[Settlement],
    *,
    most: int,
) -> list[Lease]:
    """Send the settlements, and ask for so many leases."""
    world = process.world
    request = LeaseRequest(max=most, settle=list(outbox))
    answer: LeaseResponse = await Backoff().retrying()(control.lease, request)
    world.counts["settled late"] += sum(not settled.accepted for settled in answer.settled)
    world.counts["trials"] += sum(lease.trial for lease in answer.leases)
    for settlement in outbox:
        resources.gate.settled(settlement.token)
        if world.tracing:
            world.note(f"{process.name} settled token {settlement.token} as {settlement.outcome}")
    outbox.clear()
    return answer.leases


async def _outcome(
    process: SimulatedProcess, lease: Lease, control: SimulatedControlPlaneClient, resources: WorkerResources
) -> Settlement | None:
    """Process one lease, as ``workers.dispatcher`` does."""
    lease_token.set(lease.token)
    world = process.world
    world.counts["leases"] += 1
    if world.tracing:
        known = f", known {lease.expected.etag}" if lease.expected.etag else ""
        world.note(f"{process.name} has leased {lease.key}, token {lease.token}, attempt {lease.attempt}{known}")
    heartbeat = Heartbeat(lease, control, longest_beat_seconds=100.0, clock=world.loop.time)
    try:
        return await first_of(
            LeaseTask(lease, heartbeat, resources, SlotTime(1).begin(), lambda: None).run(), heartbeat.renew()
        )
    except LeaseLost:
        if world.tracing:
            world.note(f"{process.name} has lost {lease.key}, token {lease.token}")
        resources.gate.settled(lease.token)
        return None
    except Rejected as error:
        return failed(lease, "protocol", error.message, retry=True)
    finally:  # a process that dies runs none of this
        world.invariants.losses.ends(lease.token)
