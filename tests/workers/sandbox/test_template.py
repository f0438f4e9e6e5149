"""Template processes: their start, and their end with all that they have started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from workers.sandbox.environment import scrubbed
from workers.sandbox.template import TemplateProcess


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def test_it_ends_when_it_is_killed() -> None:
    template = await TemplateProcess.start((), scrubbed({}))
    assert template.process.returncode is None
    template.kill()
    template.kill()
    async with asyncio.timeout(30):
        assert await template.process.wait() < 0


async def test_one_that_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        await TemplateProcess.start((), scrubbed({}))
    assert open_files() == before
