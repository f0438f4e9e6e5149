"""Noticing that the user's handlers have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.polling import until
from tests.workers.agents import running
from tests.workers.control_plane import LIMITS
from workers.concurrency import end
from workers.handler_watch import HandlerWatch
from workers.protocol import Done, Handler, Released


def edited(folder: Path) -> None:
    (folder / "tables.py").write_text("VALUE = 22")


def added(folder: Path) -> None:
    (folder / "part.py").write_text("")


def made_executable(folder: Path) -> None:
    (folder / "tables.py").chmod(0o755)


@pytest.mark.parametrize("change", [edited, added, made_executable])
async def test_a_change_after_a_failure_is_noticed_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "tables.py").write_text("VALUE = 1")
    watch = HandlerWatch(tmp_path, look_seconds=0.01)
    watch.begin()
    first = asyncio.create_task(watch.changed())
    change(tmp_path)
    await until(first.done)
    second = asyncio.create_task(watch.changed())
    edited(tmp_path)
    await asyncio.sleep(0)
    assert not second.done()
    watch.begin()
    added(tmp_path)
    (tmp_path / "further.py").write_text("")
    await until(second.done)
    await end([first, second])


async def test_an_agent_says_at_once_that_its_handlers_have_changed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    handler = Handler(kind="python", options={"function": "tables:handle"}, limits=LIMITS)
    async with running(tmp_path, settings=None, handlers=own) as plane:
        settlement = await plane.settlement(plane.offer("a", handler))
        assert isinstance(settlement, Released)
        assert "No module named 'tables'" in settlement.unavailable
        assert not plane.seen("handlers-changed")
        (own / "tables.py").write_text("def handle(job): (job.output / 'a.txt').write_text('')\n")
        # Its poll would wait for half a minute more.
        await plane.until(lambda: plane.seen("handlers-changed"))
        assert isinstance(await plane.settlement(plane.offer("b", handler)), Done)


async def test_without_a_folder_nothing_ever_changes() -> None:
    watch = HandlerWatch(None)
    watch.begin()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.changed(), 0)
