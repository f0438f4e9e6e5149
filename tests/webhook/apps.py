"""What an app does: it has tokens and tickets, listens to events, and uploads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.webhook.plane import DEADLINE_SECONDS, RunningPlane, event


@dataclass(frozen=True, slots=True)
class App:
    """An app's server, or a browser with a ticket."""

    http: httpx.AsyncClient
    secret: str

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call an endpoint."""
        headers = {"authorization": f"Bearer {self.secret}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def upload(self, **fields: Any) -> dict[str, Any]:
        """Begin an upload, which has to succeed."""
        response = await self.call("POST", "/v1/uploads", json=fields)
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def refused(self, path: str = "/v1/uploads", /, **fields: Any) -> tuple[int, str]:
        """Status and code of a call that is refused."""
        response = await self.call("POST", path, json=fields)
        return response.status_code, response.json().get("error", "")

    async def ticket(self, **fields: Any) -> App:
        """A browser with a new ticket."""
        response = await self.call("POST", "/v1/tickets", json={"pipeline": "photos", **fields})
        assert response.status_code == 201, response.text
        return App(self.http, response.json()["ticket"])


async def app_of(plane: RunningPlane, *scopes: str, **more: Any) -> App:
    """An app with a new token."""
    body = {"name": "a test", "scopes": list(scopes or ("upload:photos", "read:photos")), **more}
    response = await plane.admin("POST", "/v1/tokens", json={"burst_calls": 10_000, **body})
    assert response.status_code == 201, response.text
    return App(plane.http, response.json()["token"])


@dataclass(slots=True)
class Told:
    """One event of a stream."""

    id: int = 0
    name: str = "message"
    data: Any = None


class Stream:
    """A stream of server-sent events, read as a browser reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = 0

    async def next(self) -> Told:
        """The next event that a browser would dispatch."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                if (told := await self._block()).data is not None:
                    return told

    async def keys(self, number: int) -> list[str]:
        """The keys of the next events."""
        return [(await self.next()).data["key"] for _ in range(number)]

    async def begun(self) -> None:
        """Wait for the position from which on everything is told."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self._block()).name == "retry":
                pass

    async def ended(self) -> None:
        """Read on until the stream ends."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    await self._block()

    async def _block(self) -> Told:
        told = Told(self.last_id)
        while line := await anext(self._lines):
            field, _, value = line.partition(": ")
            match field:
                case "id":
                    told.id = self.last_id = int(value)
                case "event":
                    told.name = value
                case "retry":
                    told.name = "retry"
                case "data":
                    told.data = json.loads(value)
        return told


@contextlib.asynccontextmanager
async def listening(app: App, after: int | None = None, base: str = "", **query: str) -> AsyncIterator[Stream]:
    """Listen to events, from now on or after an id."""
    headers = {"authorization": f"Bearer {app.secret}"} if app.secret else {}
    if after is not None:
        headers["last-event-id"] = str(after)
    async with app.http.stream("GET", f"{base}/v1/events", params=query, headers=headers, timeout=60) as response:
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        if after is None:
            await stream.begun()
        yield stream


async def settle(plane: RunningPlane, *keys: str, bucket: str = "inbox") -> None:
    """Have a worker finish objects, one after the other."""
    worker = await plane.worker()
    for key in keys:
        await plane.notify(event(key, bucket=bucket))
        lease = await worker.lease()
        done = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "e"}, "outputs": []}
        answer = await worker.ask(most=0, settle=[done])
        assert answer.settled[0].accepted
