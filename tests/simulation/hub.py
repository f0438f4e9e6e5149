"""The simulated notification hub: it reads one region's replica and delivers notifications to the receivers.

It batches, delays, duplicates and reorders, and drops events in lossy worlds. Without a 2xx in time it sends again.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tests.simulation.bucket import INPUT, Input, InputWrite
from tests.simulation.world import EPOCH, World

ANSWER_SECONDS = 10.0
"""For which a store waits for the answer to a notification."""
_LATE_SECONDS = (1.0, 40.0)
_LINGER_SECONDS = (0.01, 0.5)
_AGAIN_SECONDS = (0.5, 6.0)
_TRIES = 3
"""Deliveries after which a hub of a lossy world drops an event."""


@dataclass(eq=False)
class Announcement:
    """One event of the hub."""

    number: int
    write: InputWrite
    text: dict[str, object]
    deliveries: int = 0
    recorded: bool = False
    """Whether the transaction of a request with it was committed."""

    def __str__(self) -> str:
        what = "gone" if self.write.content is None else f"etag {self.write.content}"
        return f"{self.write.key} {self.write.name} {what}, written at {self.write.at:.3f}"


@dataclass
class SimulatedHub:
    """Delivers events to the receivers."""

    world: World
    input: Input
    waiting: list[Announcement] = field(default_factory=list)
    events: list[Announcement] = field(default_factory=list)
    in_transit: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.input.listeners.append(self._on_write)

    @property
    def quiet(self) -> bool:
        """Whether no event is left to deliver."""
        return not self.waiting and not self.in_transit

    def _on_write(self, write: InputWrite) -> None:
        """Have the hub index a write when its replica gets it."""
        self.in_transit += 1
        self.world.loop.call_later(write.visible[0] - self.world.now, self._index, write)

    def _index(self, write: InputWrite) -> None:
        self.in_transit -= 1
        draws = self.world.draws
        # Region 0 is the hub's: it announces what its replica has, which a newer write may have overtaken.
        newest = self.input.seen(0, write.key)
        overtaken = newest is not None and newest.order > write.order
        # "A region drops a change older than what it has, so an overwrite may never be announced."
        if overtaken and draws.chance("hub/overtaken", 0.5):
            return
        event = Announcement(len(self.events), write, self._event(write))
        self.events.append(event)
        self.world.counts["events"] += 1
        self._refused(write)
        if draws.fault("hub/drop", self.world.settings.drop):
            self._drop(event)
            return
        self._enqueue(event)
        while draws.fault("hub/duplicate", self.world.settings.duplicate):
            self._enqueue(event)

    def _drop(self, event: Announcement) -> None:
        self.world.counts["dropped"] += 1
        if self.world.tracing:
            self.world.note(f"hub drops {event}")

    def _enqueue(self, event: Announcement) -> None:
        draws = self.world.draws
        seconds = draws.between("hub/linger", *_LINGER_SECONDS)
        if draws.fault("hub/late", self.world.settings.late):
            seconds += draws.between("hub/late-seconds", *_LATE_SECONDS)
        self._later(event, seconds)

    def _later(self, event: Announcement, seconds: float) -> None:
        self.in_transit += 1

        def arrive() -> None:
            self.in_transit -= 1
            self.waiting.append(event)
            self._wake.set()

        self.world.loop.call_later(seconds, arrive)

    def _event(self, write: InputWrite) -> dict[str, object]:
        """The event as the store encodes it. Its eventTime comes from a skewed clock."""
        return self._ceph_event(write) if self.world.settings.payload == "ceph" else self._tigris_event(write)

    def _ceph_event(self, write: InputWrite) -> dict[str, object]:
        """An event of Ceph. Its sequencer is a clock reading after the write, so racing writes may be out of order."""
        stamped_at = self.world.moment(write.at + self.world.draws.between("hub/gateway", 0.0, 2.0))
        # Ceph's sequencer: seconds and nanoseconds of its clock, little-endian, in hexadecimal.
        micros = (stamped_at - EPOCH) // timedelta(microseconds=1)
        seconds, rest = divmod(micros, 1_000_000)
        sequencer = struct.pack("<II", int(EPOCH.timestamp()) + seconds, rest * 1000 + write.number).hex().upper()
        name = "ObjectRemoved:Delete" if write.content is None else "ObjectCreated:Put"
        object_fields = {
            "key": write.key,
            "size": 1,
            "eTag": write.content or "gone",
            "versionId": "",
            "sequencer": sequencer,
        }
        return {
            "eventVersion": "2.2",
            "eventSource": "ceph:s3",
            "eventTime": stamped_at.isoformat(),
            "eventName": name,
            "s3": {"bucket": {"name": INPUT}, "object": object_fields},
        }

    def _refused(self, write: InputWrite) -> None:
        """Announce a write that never happened: Ceph also announces those that it refused (412)."""
        if self.world.settings.payload == "ceph" and self.world.draws.fault("hub/refused", 0.1):
            phantom = replace(write, number=write.number + 500, content="X", name="ObjectCreated:Put (refused)")
            event = Announcement(len(self.events), phantom, self._event(phantom))
            self.events.append(event)
            self._enqueue(event)

    def _tigris_event(self, write: InputWrite) -> dict[str, object]:
        skew = self.world.draws.between("hub/skew", -30.0, 30.0)
        object_fields: dict[str, object] = {"key": write.key, "size": 1, "eTag": write.content or "gone"}
        if self.world.settings.payload != "bare" and write.content is not None:
            object_fields["lastModified"] = self.world.moment(write.at).isoformat()
        if self.world.settings.payload == "stamped":
            object_fields["versionstamp"] = f"{self.world.micros:016x}{write.number:04x}"
        stamp = self.world.moment(self.world.now + skew).isoformat(timespec="microseconds")
        return {"eventName": write.name, "eventTime": stamp, "bucket": INPUT, "object": object_fields}

    async def run(self) -> None:
        """Deliver events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.waiting:
                size = 1 + self.world.draws.below("hub/batch", self.world.settings.batch)
                batch, self.waiting = self.waiting[:size], self.waiting[size:]
                self.in_transit += len(batch)
                self.world.loop.create_task(self._deliver(batch))

    async def _deliver(self, batch: list[Announcement]) -> None:
        world, draws = self.world, self.world.draws
        for event in batch:
            event.deliveries += 1
        events = "Records" if world.settings.payload == "ceph" else "events"
        body = json.dumps({events: [event.text for event in batch]}).encode()
        status = await self._post(batch, body)
        self.in_transit -= len(batch)
        if 200 <= status < 300:
            if draws.fault("hub/acknowledged-again", world.settings.duplicate / 3):
                for event in batch:
                    self._later(event, draws.between("hub/again", *_LATE_SECONDS))
            return
        for event in batch:
            if world.settings.lossy and event.deliveries >= _TRIES and not draws.faults_over:
                self._drop(event)
            else:
                self._later(event, draws.between("hub/retry", *_AGAIN_SECONDS))

    async def _post(self, batch: list[Announcement], body: bytes) -> int:
        world = self.world
        await asyncio.sleep(world.draws.between("hub/transit", 0.001, 0.05))
        planes = [plane for plane in world.planes.values() if plane.process.alive]
        if not planes:
            return 503
        plane = world.draws.choice("hub/replica", planes)
        if world.tracing:
            for event in batch:
                world.note(f"hub → {plane.process.name}: {event} (delivery {event.deliveries})")
        task = plane.process.spawn(world.invariants.received(plane, batch, body))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                # Shielded: the replica goes on with a request whose sender has given it up.
                status: int = (await asyncio.shield(task))[0]
        except TimeoutError:
            return 504
        if world.draws.fault("hub/answer-lost", world.settings.network_fault):
            world.counts["lost answers"] += 1
            return 504
        if world.tracing and status >= 300:
            world.note(f"hub ← {plane.process.name}: {status}")
        return status
