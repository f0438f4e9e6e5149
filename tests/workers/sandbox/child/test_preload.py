"""Modules that are imported once, before the fork, and those that cannot be."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.checks.graphs import write_model
from tests.workers.handlers.photo.samples import solid
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no jail")
async def test_models_are_loaded_before_the_fork_and_each_version_by_itself(folder: JobFolder, tmp_path: Path) -> None:
    handler = protocol.Handler(
        kind="photo",
        options={"checks": ["safety"], "on_refused": "publish"},
        limits=limits(),
        sandbox=protocol.SandboxRules(mode="require"),
    )
    red = solid((255, 0, 0), 40, 30).pngsave_buffer()
    versions = [write_model(tmp_path / name) for name in ("first", "second")]
    (versions[1] / "config.json").write_text('{"id2label": {"0": "SFW", "1": "NSFL", "2": "NSFW"}}')
    async with sandbox() as pool:
        verdicts = []
        for version in (0, 0, 1, 0):
            job = replace(folder.job(red), models={"safety": versions[version]})
            verdicts.append((await run(pool, handler, job)).labels["verdict"])
            # A process that had to load the model by itself could not: the template has it already.
            (versions[version] / "model.onnx").unlink(missing_ok=True)
    assert verdicts == ["refused", "refused", "ok", "refused"]
