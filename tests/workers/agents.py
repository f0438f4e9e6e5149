"""An agent in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.workers.control_plane import ONE_TIME_TOKEN, StubControlPlane, served
from workers.concurrency import end
from workers.dispatcher import Pace
from workers.lifecycle import live
from workers.settings import Settings


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, plane: StubControlPlane | None = None, pace: Pace | None = None
) -> AsyncIterator[StubControlPlane]:
    """The same agent in this process; its handlers have processes of their own all the same."""
    plane = plane or StubControlPlane()
    async with served(plane):
        task = asyncio.create_task(live(Settings(plane.url, ONE_TIME_TOKEN, tmp_path), pace))
        try:
            await plane.until(lambda: plane.of_kind("ask") or task.done())
            yield plane
        finally:
            await end([task])
