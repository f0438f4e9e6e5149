"""One worker's calls and long polls: how many may be under way, and which poll a newer one ends."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest

from tests.polling import until
from tests.webhook.plane import RunningPlane, Worker, control_plane, event
from webhook.api import worker_calls
from webhook.api.http import HttpProblem
from webhook.api.worker_calls import MAX_CALLS, MAX_POLLS, WorkerCalls


async def polls(plane: RunningPlane, worker: Worker, beside: int = 0) -> list[asyncio.Task[int]]:
    """As many long polls of a worker as may wait, ``beside`` those of others. Each gives the number of its leases."""

    async def leases() -> int:
        return len((await worker.ask(wait=20)).leases)

    tasks = []
    for number in range(1, MAX_POLLS + 1):
        tasks.append(asyncio.create_task(leases()))
        await until(partial(waiting, plane, number + beside))
    return tasks


async def waiting(plane: RunningPlane, number: int) -> bool:
    return plane.services.wakeups.waiting == number


async def test_a_newer_long_poll_ends_the_oldest_of_its_worker_alone(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_calls, "YOUNG_SECONDS", 0)
    async with control_plane(postgres_dsn) as plane:
        worker, other = await plane.worker(), await plane.worker()
        other_poll = asyncio.create_task(other.ask(wait=20))
        await until(lambda: waiting(plane, 1))
        older, newer = await polls(plane, worker, beside=1)
        newest = asyncio.create_task(worker.ask(wait=20))
        assert await asyncio.wait_for(older, 10) == 0
        assert [task.done() for task in (newer, newest, other_poll)] == [False] * 3
        await plane.notify(event("a.jpg"), event("b.jpg"), event("c.jpg"))
        assert await newer == 1
        assert [len((await poll).leases) for poll in (newest, other_poll)] == [1, 1]


async def test_a_third_long_poll_that_comes_at_once_is_refused_and_settles_nothing(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_calls, "YOUNG_SECONDS", 60)
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        waiting_polls = await polls(plane, worker)
        said = await worker.post("leases", {"max": 1, "wait": 20})
        assert (said.status_code, said.json()["error"], said.headers["retry-after"]) == (429, "too-many-calls", "1")
        assert not (await worker.ask(wait=0)).leases  # waits for nothing, so it takes no other's place
        await plane.notify(event("a.jpg"), event("b.jpg"))
        assert await asyncio.gather(*waiting_polls) == [1, 1]
        assert not (await worker.ask(wait=0.01)).leases


async def test_the_calls_of_a_worker_are_limited(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker, other = await plane.worker(), await plane.worker()
        head = (
            f"POST /v1/leases HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {worker.token}\r\ncontent-length: 9\r\n\r\n"
        )
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MAX_CALLS):  # whose bodies do not come
                _, writer = await asyncio.open_connection("127.0.0.1", plane.port)
                stack.callback(writer.close)
                writer.write(head.encode())

            async def refused() -> bool:
                return (await worker.post("leases", {"max": 1})).status_code == 429

            await until(refused)
            await other.ask()

        async def taken() -> bool:
            return (await worker.post("leases", {"max": 1})).status_code == 200

        await until(taken)


def test_what_has_ended_is_not_counted() -> None:
    calls = WorkerCalls()
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_CALLS):
                stack.enter_context(calls.counted(1))
            with pytest.raises(HttpProblem, match="calls"), calls.counted(1):
                pass
            for _ in range(MAX_POLLS):
                stack.enter_context(calls.polling(1))
            with pytest.raises(HttpProblem, match="long polls"), calls.polling(1):
                pass
