"""A browser's requests to the page without a browser: cookies, forms, the origin, and fields read out of the HTML."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.webhook.plane import ADMIN, DEADLINE_SECONDS, RunningPlane, event
from tests.webhook.settlements import failed

VIEWER = "viewer-secret-of-tests"


class Visitor:
    """One browser that may have signed in."""

    def __init__(self, plane: RunningPlane, http: httpx.AsyncClient) -> None:
        self.plane = plane
        self.http = http

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Open a path."""
        return await self.http.get(path, params=query or None)

    async def page(self, path: str, **query: str) -> str:
        """Open a path that has to be there."""
        response = await self.get(path, **query)
        assert response.status_code == 200, (response.status_code, response.text)
        return response.text

    async def sign_in(self, token: str = ADMIN) -> httpx.Response:
        """Send the form with a token."""
        return await self.http.post("/sign-in", data={"token": token}, headers=self.from_here())

    async def csrf(self) -> str:
        """The session's token, which stands in every page of an administrator."""
        found = re.search(r'data-csrf="([^"]+)"', await self.page("/"))
        assert found
        return found[1]

    async def submit(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form of the page."""
        return await self.http.post(path, data={"csrf": await self.csrf(), **fields}, headers=self.from_here())

    async def script(self, path: str, content: object) -> httpx.Response:
        """Send JSON as the page's script does."""
        return await self.http.post(path, json=content, headers={**self.from_here(), "x-csrf-token": await self.csrf()})

    def from_here(self) -> dict[str, str]:
        """Headers of a request that a page of this control plane begins."""
        return {"origin": self.plane.url}


@contextlib.asynccontextmanager
async def visiting(plane: RunningPlane, token: str | None = ADMIN) -> AsyncIterator[Visitor]:
    """A browser that has signed in; None: one that has not."""
    async with httpx.AsyncClient(base_url=plane.url, timeout=DEADLINE_SECONDS) as http:
        visitor = Visitor(plane, http)
        if token is not None:
            assert (await visitor.sign_in(token)).status_code == 303
        yield visitor


async def parked(plane: RunningPlane, *keys: str, **fields: object) -> dict[str, int]:
    """Park objects of these keys. Returns their numbers."""
    worker = await plane.worker()
    await plane.notify(*(event(key) for key in keys))
    fields = {"reason": "unreadable", "message": "This is no photo.", "log": "", **fields}
    ids: dict[str, int] = {}
    while len(ids) < len(keys):  # a worker holds a few leases at once
        leases = (await worker.ask(most=len(keys), wait=5)).leases
        await worker.ask(most=0, settle=[failed(lease, retry=False, **fields) for lease in leases])
        ids |= {lease.key: lease.id for lease in leases}
    return ids
