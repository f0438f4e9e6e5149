from __future__ import annotations

import asyncio

import pytest
from starlette.responses import Response

from tests.workers.control_plane import ONE_TIME_TOKEN, StubControlPlane, served
from workers import client
from workers.client import LeaseLost, Unauthorized
from workers.heartbeat import Heartbeat
from workers.protocol import Lease


class HeartbeatClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def heartbeat(caller: client.ControlPlaneClient, lease: Lease, clock: HeartbeatClock) -> Heartbeat:
    return Heartbeat(lease, caller, longest_beat_seconds=0.01, clock=clock)


async def test_a_lease_is_used_a_little_shorter_than_it_was_granted() -> None:
    clock = HeartbeatClock()
    async with served(StubControlPlane()) as plane, client.ControlPlaneClient(plane.url, ONE_TIME_TOKEN) as caller:
        beat = heartbeat(caller, plane.offer("a"), clock)
        beat.check()
        clock.now += 56.9
        beat.check()
        clock.now += 0.2
        with pytest.raises(LeaseLost):
            beat.check()


async def test_each_heartbeat_moves_the_deadline_on() -> None:
    clock = HeartbeatClock()
    async with served(StubControlPlane()) as plane, client.ControlPlaneClient(plane.url, ONE_TIME_TOKEN) as caller:
        beat = heartbeat(caller, plane.offer("a"), clock)
        renewing = asyncio.create_task(beat.renew())
        for _ in range(5):
            clock.now += 40
            beats = len(plane.of_kind("heartbeat"))
            await plane.until(lambda beats=beats: len(plane.of_kind("heartbeat")) >= beats + 2)  # type: ignore[misc]
            beat.check()
        assert not renewing.done()
        renewing.cancel()


async def test_past_the_deadline_no_heartbeat_is_sent() -> None:
    clock = HeartbeatClock()
    async with served(StubControlPlane()) as plane, client.ControlPlaneClient(plane.url, ONE_TIME_TOKEN) as caller:
        beat = heartbeat(caller, plane.offer("a"), clock)
        clock.now += 60
        with pytest.raises(LeaseLost):
            await beat.renew()
        assert not plane.of_kind("heartbeat")


async def test_a_lease_ends_when_no_heartbeat_is_answered() -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 0.5
    async with served(plane), client.ControlPlaneClient(plane.url, ONE_TIME_TOKEN) as caller:
        lease = plane.offer("a")
        plane.held[f"POST /v1/leases/{lease.id}/heartbeat"] = asyncio.Event()
        with pytest.raises(LeaseLost, match="no heartbeat was answered"):
            await Heartbeat(lease, caller, longest_beat_seconds=10).renew()


@pytest.mark.parametrize(("status", "fault"), [(409, LeaseLost), (401, Unauthorized)])
async def test_a_refused_heartbeat_ends_it_at_once(status: int, fault: type[Exception]) -> None:
    async with served(StubControlPlane()) as plane, client.ControlPlaneClient(plane.url, ONE_TIME_TOKEN) as caller:
        lease = plane.offer("a")
        plane.faults[f"POST /v1/leases/{lease.id}/heartbeat"] = [
            Response(status_code=503),
            Response(status_code=status),
        ]
        with pytest.raises(fault):
            await heartbeat(caller, lease, HeartbeatClock()).renew()
