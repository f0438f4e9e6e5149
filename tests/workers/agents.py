"""An agent in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.workers.control_plane import ONE_TIME_TOKEN, ControlPlane, served
from workers.dispatcher import Pace
from workers.session import live
from workers.settings import Settings
from workers.tasks import end


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, plane: ControlPlane | None = None, pace: Pace | None = None
) -> AsyncIterator[ControlPlane]:
    """The same agent in this process; its handlers have processes of their own all the same."""
    plane = plane or ControlPlane()
    async with served(plane):
        task = asyncio.create_task(live(Settings(plane.url, ONE_TIME_TOKEN, tmp_path), pace))
        try:
            await plane.until(lambda: plane.of_kind("ask") or task.done())
            yield plane
        finally:
            await end([task])
