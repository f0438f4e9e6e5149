"""Fetches the models of a pool before the agent asks for work, and tells the control plane how far it is.

Models of checks are loaded into memory as soon as they are there: the first photo finds them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import structlog

from workers.checks import model_folder
from workers.client import ControlPlaneClient, Rejected, Unreachable
from workers.concurrency import first_of
from workers.dispatcher import Orphaned
from workers.inference.errors import UnusableModelError
from workers.lease_task import WorkerResources
from workers.models.worker_models import WorkerModels
from workers.protocol import ModelRef, Welcome

_log = structlog.get_logger()

REPORT_SECONDS = 2.0
"""Between two reports. They also keep the worker alive."""


async def prefetch(welcome: Welcome, resources: WorkerResources) -> bool:
    """Have all models of the welcome on the disk. False: the control plane says that the worker is to leave.

    A model that cannot be had holds up no pipeline but those that name it. Raises `Unauthorized`, and `Orphaned` once
    the control plane has not answered for too long.
    """
    if not welcome.models:
        return True
    begun = time.monotonic()
    reporting = _report(resources.models, resources.client, welcome.orphan_seconds)
    goes_on = await first_of(_fetch(welcome, resources), reporting)
    if goes_on:
        _log.info("weights-ready", models=len(welcome.models), seconds=round(time.monotonic() - begun, 3))
    return goes_on


async def _fetch(welcome: Welcome, resources: WorkerResources) -> bool:
    def load(model: ModelRef, folder: Path) -> None:
        if model.name in welcome.checks:
            with suppress(UnusableModelError):  # the first photo that needs it is told
                resources.sandbox.load_graph(model_folder.graph(folder))

    await resources.models.fetch(welcome.models, load)
    return True


async def _report(models: WorkerModels, client: ControlPlaneClient, orphan_seconds: float) -> bool:
    """Report until the worker is told to leave."""
    while True:
        await asyncio.sleep(min(REPORT_SECONDS, orphan_seconds / 3))
        if (progress := models.progress()) is None:
            continue
        _log.info("weights", **progress.model_dump(exclude={"phase"}))
        try:
            if (await client.progress(progress)).drain:
                return False
        except (Unreachable, Rejected) as error:  # Rejected: one of an earlier version
            _log.warning("progress-not-reported", error=error.message)
        if time.monotonic() - client.answered_at > orphan_seconds:
            raise Orphaned(f"The control plane has not answered for {orphan_seconds:g} s.")
