"""The live feed: read once for all that watch, what changed alone is sent, failures are said, and it ends in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.polling import until
from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane, event
from webhook.api.http import HttpProblem
from webhook.ledger.database import LedgerUnavailable
from webhook.page.live import MOST_WATCHERS, LiveFeed


class State:
    """What is read, and how often it was."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {"flow": "0", "machines": "none"}
        self.failure = ""
        self.readings = 0

    async def read(self) -> Mapping[str, str]:
        self.readings += 1
        if self.failure:
            raise LedgerUnavailable(self.failure)
        return dict(self.parts)


def read(message: str) -> tuple[str, object]:
    lines = dict(line.partition(":")[::2] for line in message.strip().splitlines())
    return lines["event"].strip(), json.loads(lines["data"].strip() or "null")


async def after(watch: AsyncIterator[str], name: str) -> object:
    """The data of the next message of a kind."""
    async with asyncio.timeout(20):
        async for message in watch:
            kind, data = read(message)
            if kind == name:
                return data
    raise AssertionError("the stream ended")


async def test_what_changed_alone_is_sent_again() -> None:
    state = State()
    feed = LiveFeed(state.read)
    watch = aiter(feed.watch(lambda: True))
    assert await after(watch, "view") == {"flow": "0", "machines": "none"}
    state.parts["flow"] = "1"
    assert await after(watch, "view") == {"flow": "1"}
    assert await after(watch, "beat") is None
    await feed.aclose()


async def test_all_that_watch_share_one_reading_and_without_them_there_is_none() -> None:
    state = State()
    feed = LiveFeed(state.read)
    watches = [aiter(feed.watch(lambda: True)) for _ in range(5)]
    first = [await after(watch, "view") for watch in watches]
    assert first == [first[0]] * 5
    assert state.readings <= 2
    assert feed.watchers == 5
    for watch in watches:
        await watch.aclose()  # type: ignore[attr-defined]
    assert feed.watchers == 0
    state.parts["flow"] = "old news are not sent"
    again = aiter(feed.watch(lambda: True))
    assert await after(again, "view") == {"flow": "old news are not sent", "machines": "none"}
    await feed.aclose()


async def test_a_failure_is_said_and_passes() -> None:
    state = State()
    feed = LiveFeed(state.read)
    watch = aiter(feed.watch(lambda: True))
    await after(watch, "view")
    state.failure = "the database does not answer"
    assert "the database does not answer" in str(await after(watch, "failing"))
    state.failure, state.parts["flow"] = "", "2"
    assert await after(watch, "view") == {"flow": "2"}
    await feed.aclose()


async def test_a_replica_that_leaves_ends_its_streams_and_takes_no_more() -> None:
    feed = LiveFeed(State().read)
    watch = aiter(feed.watch(lambda: True))
    await after(watch, "view")
    ending = asyncio.create_task(_rest(watch))
    await feed.aclose()
    await asyncio.wait_for(ending, 10)
    with pytest.raises(HttpProblem):
        feed.admit()


async def _rest(watch: AsyncIterator[str]) -> list[str]:
    return [message async for message in watch]


async def test_a_session_that_ends_ends_its_stream() -> None:
    feed = LiveFeed(State().read)
    left = [True, False]
    assert len([message async for message in feed.watch(lambda: left.pop(0))]) == 1
    assert feed.watchers == 0
    await feed.aclose()


def test_there_is_a_limit() -> None:
    feed = LiveFeed(State().read)
    feed.admit()
    assert MOST_WATCHERS <= 1_000


async def test_a_browser_hears_of_an_upload_over_http(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        async with visitor.http.stream("GET", "/live/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-store"
            lines = aiter(response.aiter_lines())
            assert "nothing waits" in await _view(lines, "flow")
            await plane.notify(event("a.jpg"))
            assert "the oldest for" in await _view(lines, "flow")

        async def left() -> bool:
            return not plane.plane.live.watchers

        await until(left)


async def _view(lines: AsyncIterator[str], part: str) -> str:
    async with asyncio.timeout(20):
        async for line in lines:
            if line.startswith("data: {") and part in (parts := json.loads(line.removeprefix("data: "))):
                return str(parts[part])
    raise AssertionError("the stream ended")
