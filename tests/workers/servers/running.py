"""Servers of handlers for tests: the stand-in, on a free port."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from workers.handlers.http.options import HttpOptions
from workers.servers.server import HandlerServer

STAND_IN = Path(__file__).with_name("stand_in.py")


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stand_in(mode: str = "", **more: Any) -> dict[str, Any]:
    """Options of a stand-in that the agent starts. ``more`` replaces some of them."""
    port = free_port()
    command = [sys.executable, str(STAND_IN), str(port), mode]
    return {
        "command": command, "port": port, "ready": "/health-check", "ready_status": ["READY"], "body": "file",
        "path": "/echo", "start_seconds": 20, **more,
    }  # fmt: skip


async def pid_of(port: int) -> int:
    """Process id of the stand-in that listens there."""
    return int((await _asked(port, "process"))["pid"])


async def folder_of(port: int) -> Path:
    """Working directory of the stand-in that listens there."""
    return Path((await _asked(port, "process"))["folder"])


async def environment_of(port: int) -> dict[str, str]:
    """Variables of the stand-in that listens there, as far as they begin with ``YURT_``."""
    seen: dict[str, str] = await _asked(port, "environment")
    return seen


async def _asked(port: int, path: str) -> Any:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{port}/{path}")).json()


@asynccontextmanager
async def server(folder: Path, /, mode: str = "", **more: Any) -> AsyncIterator[HandlerServer]:
    """A server that has not been started yet; ended afterwards."""
    one = HandlerServer(HttpOptions.model_validate(stand_in(mode, **more)), folder, None)
    try:
        yield one
    finally:
        await one.aclose()
