"""Runs ``yurt`` as an operator of a control plane of a test does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from tests.webhook.plane import ADMIN, RunningPlane


async def yurt(plane: RunningPlane, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``yurt`` in a process of its own, which has no terminal, against a control plane."""
    environment = {"PATH": os.environ["PATH"], "YURT_URL": plane.url, "YURT_ADMIN_TOKEN": ADMIN, "COLUMNS": "160"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "webhook", *argv], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    return await asyncio.to_thread(run)
