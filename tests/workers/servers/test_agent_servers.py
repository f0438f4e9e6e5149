"""A served job of an agent: the server of its handler is started, and ended when the agent leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.polling import until
from tests.workers.agents import running
from tests.workers.control_plane import LIMITS
from tests.workers.processes import alive
from tests.workers.servers.running import pid_of, stand_in
from workers.protocol import Done, Handler, Released


def handler(options: dict[str, Any]) -> Handler:
    return Handler(kind="http", options=options, limits=LIMITS)


async def test_leases_are_answered_by_a_server_that_ends_with_the_agent(tmp_path: Path) -> None:
    options = stand_in("slow", headers={"X-Type": "image/webp"})
    async with running(tmp_path) as plane:
        leases = [
            plane.offer(f"{number}.jpg", handler(options), data=f"photo {number}".encode()) for number in range(3)
        ]
        for number, lease in enumerate(leases):
            settlement = await plane.settlement(lease)
            assert isinstance(settlement, Done)
            assert plane.store[f"out/{lease.key}/output.webp"].data == f"photo {number}".encode()
        pid = await pid_of(options["port"])
    await until(lambda: not alive(pid))


async def test_a_server_that_cannot_be_started_blames_no_object(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        settlement = await plane.settlement(plane.offer("a.jpg", handler(stand_in("ill"))))
        assert isinstance(settlement, Released)
        assert settlement.without_handler
        assert "no CUDA device" in settlement.unavailable
