"""Modules that are imported once, before the fork, and those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.sandbox.jobs import JobFolder, limits, run, sandbox
from workers import protocol
from workers.handlers.folder import ENVIRONMENT

STATE = """
import os
from workers.handlers import Job, Result
IMPORTED = os.getpid()
CALLS = []
def handle(job: Job) -> Result:
    CALLS.append(job.key)
    return Result((), {"imported": IMPORTED, "own": os.getpid(), "calls": len(CALLS)})
"""
HANDLER = protocol.Handler(kind="python", options={"function": "own:handle"}, limits=limits())


@pytest.mark.parametrize(
    ("before", "is_preloaded"),
    [
        ("", True),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n", False),
        ("import socket\nPAIR = socket.socketpair()\n", False),
    ],
)
async def test_state_of_a_module_never_meets_the_next_file(
    folder: JobFolder, tmp_path: Path, before: str, is_preloaded: bool
) -> None:
    (tmp_path / "own.py").write_text(before + STATE)
    async with sandbox(environment={ENVIRONMENT: str(tmp_path)}) as pool:
        first, second = [(await run(pool, HANDLER, folder.job())).labels for _ in range(2)]
    assert (first["calls"], second["calls"]) == (1, 1)
    assert first["own"] != second["own"]
    assert (first["imported"] == second["imported"]) is is_preloaded
    assert (first["imported"] == first["own"]) is not is_preloaded
