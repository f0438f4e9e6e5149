"""Events by both clients: across cut connections, without a loss or a repetition."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.chaos.proxy import Cut
from tests.polling import until
from tests.webhook.apps import app_of, settle
from tests.webhook.plane import RunningPlane, configured, control_plane, pipeline
from tests.yurt.client.clients import both, proxied
from yurt import EventGap, NotReachable, ObjectSettled, Refused
from yurt.client.events import StreamBlock, StreamBlocks
from yurt.transport import AnswerTooLong

TWO = configured(
    {"photos": pipeline(conditions="quoted"), "papers": pipeline("paperbox", "results", conditions="quoted")}
)


async def listeners(plane: RunningPlane, number: int) -> None:
    await until(lambda: plane.plane.events.listeners == number)


async def test_cut_connections_lose_and_repeat_nothing(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn) as plane,
        proxied(plane.url) as (proxy, url),
        both(url, (await app_of(plane)).secret) as clients,
    ):
        keys = [f"{number}.jpg" for number in range(12)]
        for client in clients:
            seen: list[Any] = []
            cuts = proxy.cuts

            async def listen(client: Any, seen: list[Any]) -> None:
                async with aclosing(client.events()) as events:
                    async for event in events:
                        seen.append(event)
                        if len(seen) == len(keys):
                            return

            listening = asyncio.create_task(listen(client, seen))
            await listeners(plane, 1)
            for batch in (keys[:4], keys[4:8], keys[8:]):
                proxy.arm(Cut("answer", 0.5, after=1))  # in the middle of an event
                await settle(plane, *batch)
            await listening
            assert [event.key for event in seen] == keys
            assert [event.id for event in seen] == list(range(seen[0].id, seen[0].id + len(keys)))
            assert proxy.cuts > cuts
            proxy.disarm()
            await listeners(plane, 0)
            assert isinstance(seen[0], ObjectSettled)
            assert (seen[0].pipeline, seen[0].state, seen[0].etag, seen[0].changed) == ("photos", "done", "e", True)


async def test_what_was_missed_is_told_first_or_as_a_gap(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, TWO) as plane,
        both(plane.url, (await app_of(plane, "read:*")).secret) as two,
    ):
        await settle(plane, "a/1.jpg", "b/2.jpg")
        await settle(plane, "p.pdf", bucket="paperbox")
        await settle(plane, "a/4.jpg")
        await plane.services.settles.number()
        for client in two:

            async def first(number: int, client: Any = client, **more: Any) -> list[Any]:
                async with aclosing(client.events(**more)) as events:
                    return [await anext(events) for _ in range(number)]

            everything = await first(4, last_event_id=0)
            assert [event.key for event in everything] == ["a/1.jpg", "b/2.jpg", "p.pdf", "a/4.jpg"]
            assert await first(2, last_event_id=2) == everything[2:]
            assert await first(1, last_event_id=0, pipelines=["papers"]) == everything[2:3]
            assert await first(4, last_event_id=0, pipelines=["papers", "photos"]) == everything
            assert await first(1, last_event_id=0, pipelines=["papers", "absent"]) == everything[2:3]
            assert await first(2, last_event_id=0, prefix="a/") == [everything[0], everything[3]]
            assert await first(1, last_event_id=99) == [EventGap(4)]
        await listeners(plane, 0)


async def test_listening_ends_where_it_makes_no_sense(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        uploader = (await app_of(plane, "upload:photos")).secret
        async with both(plane.url, uploader) as clients:
            for client in clients:
                with pytest.raises(Refused, match="this token may read no pipeline"):
                    await anext(client.events())
                with pytest.raises(TypeError, match=r"pipelines=\['photos'\]"):
                    await anext(client.events(pipelines="photos"))
        plane.plane.events.close()
        async with both(plane.url, (await app_of(plane)).secret, retry_seconds=0.1) as two:
            for client in two:
                with pytest.raises(NotReachable, match="No answer from the control plane: status 503"):
                    await anext(client.events())


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

STREAM = (
    'retry: 1000\n\nid: 7\n\n: alive\n\nid: 8\r\nevent: settled\r\ndata: {"ü":\r\ndata:1}\r\n\r\nid: 9\nevent: settl'
)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_blocks_are_whole_however_they_arrive(size: int) -> None:
    content, blocks = STREAM.encode(), StreamBlocks()
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    assert [block for chunk in chunks for block in blocks.add(chunk)] == [
        StreamBlock(None, "message", None),
        StreamBlock(7, "message", None),
        StreamBlock(None, "message", None),
        StreamBlock(8, "settled", '{"ü":\n1}'),
    ]


def test_a_block_without_an_end_is_refused() -> None:
    blocks, line = StreamBlocks(), b"data: " + b"x" * 100_000 + b"\n"
    assert list(blocks.add(line + line)) == []
    with pytest.raises(AnswerTooLong):
        list(blocks.add(line))
