"""Limits on connections: which are closed to make room, which are refused, and what is kept for notifications."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from tests.polling import until
from tests.webhook.long_polls import polling
from tests.webhook.plane import ADMIN, RunningPlane, configured, control_plane, event
from webhook.api.connections import ConnectionLimits, Connections, Reason


class CountedVisitor:
    """A connection that notes whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def abort(self) -> None:
        self.closed = True


class Door:
    """Connections with limits, and what was refused."""

    def __init__(self, total: int = 100, per_address: int = 100, *proxies: str) -> None:
        self.refused: Counter[Reason] = Counter()
        limits = ConnectionLimits(total, per_address, tuple(map(ip_network, proxies)))
        self.connections = Connections(limits, lambda reason: self.refused.update([reason]))

    def enter(
        self, host: str = "192.0.2.1", *, asks: bool = False, shows: bool = False, rests: bool = False
    ) -> CountedVisitor:
        visitor = CountedVisitor()
        visitor.closed = not self.connections.admit(visitor, host)
        if asks or shows:
            self.connections.begun(visitor)
        if shows:
            self.connections.proven(visitor)
        if rests:
            self.connections.ended(visitor)
        return visitor


def test_the_connection_that_is_worth_least_makes_room() -> None:
    door = Door(total=5)
    working = door.enter(shows=True)
    kept = door.enter(shows=True, rests=True)
    asking = door.enter(asks=True)
    idle, answered = door.enter(), door.enter(asks=True, rests=True)
    order = [idle, answered, asking, kept]
    for number in range(4):
        assert not door.enter(shows=True).closed
        assert [visitor.closed for visitor in order] == [True] * (number + 1) + [False] * (3 - number)
    assert door.enter().closed
    assert not working.closed
    assert door.refused == {"idle": 3, "unproven": 1, "total": 1}
    assert len(door.connections) == 5


def test_one_address_closes_and_refuses_only_its_own_connections() -> None:
    door = Door(per_address=2)
    others = door.enter("198.51.100.7")
    first, second = door.enter(), door.enter(shows=True)
    assert not door.enter(shows=True).closed
    assert first.closed
    assert door.enter().closed
    assert [second.closed, others.closed] == [False, False]
    assert door.refused == {"idle": 1, "address": 1}


def test_what_left_or_was_closed_no_longer_counts() -> None:
    door = Door(total=2, per_address=1)
    for _ in range(3):
        visitor = door.enter(shows=True)
        assert not visitor.closed
        door.connections.left(visitor)
        door.connections.left(visitor)
        door.connections.ended(visitor)
    assert len(door.connections) == 0


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.9.8.7", None),
        ("", None),
    ],
)
def test_what_an_address_is_counted_as(host: str, group: str | None) -> None:
    assert ConnectionLimits(10, 1, (ip_network("10.0.0.0/8"),)).group_of(host) == group


# ── over real HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────

FEW = 64
KEPT = 8
"""An eighth of these."""
UNFINISHED = f"POST /v1/invitations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ncontent-length: 9\r\n\r\n"


@contextlib.asynccontextmanager
async def small_plane(dsn: str) -> AsyncIterator[RunningPlane]:
    async with control_plane(dsn, configured(server={"connections": FEW})) as plane:
        yield plane


@contextlib.asynccontextmanager
async def held(plane: RunningPlane, number: int, sent: bytes = b"") -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections of strangers who send so much and then nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", plane.port) for _ in range(number)]
    for _, writer in opened:
        writer.write(sent)
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


def refused(plane: RunningPlane, reason: str) -> float:
    return plane.services.metrics.registry.get_sample_value("yurt_connections_refused_total", {"reason": reason}) or 0


async def test_idle_strangers_shut_neither_notifications_nor_a_waiting_worker_out(postgres_dsn: str) -> None:
    async with small_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        asked = asyncio.create_task(worker.ask(wait=20))
        await until(lambda: polling(plane))
        async with held(plane, 2 * FEW) as readers:
            assert await plane.notify(event("a.jpg")) == {"accepted": 1}
            assert await asyncio.wait_for(readers[0].read(), 10) == b""  # the oldest was closed to make room
        assert len((await asked).leases) == 1
        assert refused(plane, "idle") >= FEW
        assert refused(plane, "total") == 0


async def test_requests_of_others_leave_places_for_notifications(postgres_dsn: str) -> None:
    async with small_plane(postgres_dsn) as plane:
        async with held(plane, FEW - KEPT, UNFINISHED.encode()):

            async def all_under_way() -> bool:
                return (await plane.http.get("/metrics")).status_code == 503

            await until(all_under_way)
            assert (await plane.http.get("/healthz")).status_code == 200
            said = await plane.http.get("/metrics")
            assert (said.json()["error"], said.headers["connection"]) == ("busy", "close")
            assert await plane.notify(event("a.jpg")) == {"accepted": 1}
            assert refused(plane, "busy") >= 2
        await until(plane.ready)
        assert refused(plane, "total") == 0


async def test_a_client_that_does_not_read_its_answers_is_given_up(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.api.http_server.WRITE_SECONDS", 0.1)
    async with control_plane(postgres_dsn) as plane:
        asked = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 500
        async with held(plane, 1, asked) as [reader]:  # which reads nothing until it was given up

            async def given_up() -> bool:
                return plane.services.metrics.registry.get_sample_value("yurt_connections") == 1  # this client's own

            await plane.http.get("/healthz")
            await until(given_up)
            while await reader.read(65_536):  # what was under way, and then the end
                pass
