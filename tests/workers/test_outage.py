"""A control plane that cannot be reached: what the log says, and how often."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx
import pytest
import structlog

from tests.workers.agents import agent, exit_of
from tests.workers.control_plane import StubControlPlane
from workers.client import ControlPlaneClient, Unreachable
from workers.outage import OutageLog, advice


def test_an_outage_is_logged_at_once_then_every_half_minute_and_at_its_end() -> None:
    times = iter((0.0, 1.0, 29.0, 30.0, 31.0, 60.0, 61.0, 62.0))
    outage = OutageLog("http://yurt", clock=lambda: next(times))
    with structlog.testing.capture_logs() as lines:
        outage.answered()
        for _ in range(6):
            outage.failed(OSError("gone"))
        outage.answered()
        outage.answered()
        outage.failed(OSError("gone"))
    assert [(line["event"], line.get("for_seconds"), line["url"]) for line in lines] == [
        ("unreachable", 0, "http://yurt"),
        ("unreachable", 30, "http://yurt"),
        ("unreachable", 60, "http://yurt"),
        ("reachable", None, "http://yurt"),
        ("unreachable", 0, "http://yurt"),
    ]


async def failure(url: str) -> Unreachable:
    async with ControlPlaneClient(url, "t" * 20) as client:
        with pytest.raises(Unreachable) as raised:
            await client.hello("i" * 16)
    return raised.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_what_to_check_depends_on_the_error() -> None:
    assert "Nothing listens there" in advice(await failure(f"http://127.0.0.1:{free_port()}"))
    assert "DNS" in advice(await failure("http://no-such-host.invalid"))
    assert "firewall" in advice(TimeoutError())
    assert "proxy" in advice(httpx.ReadError("reset"))


async def test_tls_with_a_server_that_speaks_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert "TLS failed" in advice(await failure(f"https://127.0.0.1:{server.getsockname()[1]}"))


async def test_an_agent_says_at_once_that_it_reaches_nothing(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.url = f"http://127.0.0.1:{free_port()}"
    async with agent(plane, tmp_path) as process:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        assert '"event": "unreachable"' in line
        assert plane.url in line
        assert "Nothing listens there" in line
        process.terminate()
        assert (await exit_of(process))[0] == 0
