"""The photo app over a real control plane, its browsers without a browser, and callbacks as Yurt sends them."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook

from photo_app.app import AlbumApp
from photo_app.settings import AlbumSettings
from run_locally import served
from tests.webhook.apps import app_of
from tests.webhook.plane import RunningPlane, control_plane, done, event
from tests.webhook.settlements import failed

KEY = b"a key for the cookies of tests"
SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"


def key_of(person: int, name: str = "a.jpg") -> str:
    """A key that a ticket for this person gives to an upload."""
    return f"users/{person}/0123456789abcdef01234567/1/{name}"


@contextlib.asynccontextmanager
async def visit(url: str, name: str = "", cookie: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A browser that signs in by this name, or has this cookie; with neither it is signed out."""
    headers = {"origin": url, **({"cookie": cookie} if cookie else {})}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        if name:
            answer = await http.post("/sign-in", data={"name": name})
            assert answer.status_code == 303, answer.text
        yield http


@dataclass(frozen=True, slots=True)
class RunningAlbum:
    """The app, and the control plane that it calls."""

    plane: RunningPlane
    url: str

    async def add(self, visitor: httpx.AsyncClient, *keys: str) -> None:
        """Have a browser say that it has uploaded photos, whose events have come too."""
        for key in keys:
            answer = await visitor.post("/photos", json={"key": key})
            assert answer.status_code == 204, answer.text
        await self.plane.notify(*map(event, keys))

    async def settle(self, *keys: str, parked: str = "") -> None:
        """Have a worker make results of photos, or park them with this message."""
        worker = await self.plane.worker()
        for _ in keys:
            lease = await worker.lease()
            why = {"reason": "unreadable", "message": parked, "retry": False}
            await worker.ask(most=0, settle=[failed(lease, **why) if parked else done(lease, {"256.webp": "e"})])

    async def call_back(
        self, kind: str, key: str, sequence: int = 1, *, secret: str = SECRET, age_seconds: int = 0, added: bytes = b""
    ) -> int:
        """Send a callback as Yurt does, or one that is forged. Returns the status of the answer."""
        data = {"pipeline": "photos", "bucket": "inbox", "key": key, "sequence": sequence, "etag": None,
                "verdict": None, "reason": None, "message": None, "outputs": []}  # fmt: skip
        body = json.dumps({"type": f"object.{kind}", "timestamp": "2026-05-15T10:30:00Z", "data": data})
        at = int(time.time()) - age_seconds
        signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            return (await http.post("/hooks/yurt", content=body.encode() + added, headers=headers)).status_code


@contextlib.contextmanager
def served_album(folder: Path, yurt_url: str, token: str) -> Iterator[str]:
    """The app alone, which calls Yurt there. Gives its URL."""
    settings = AlbumSettings(
        yurt_url=yurt_url, yurt_token=token, callback_secrets=(SECRET,), cookie_key=KEY,
        store_origins=("http://127.0.0.1:9",), database=folder / "album.sqlite", secure=False,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener, served(AlbumApp(settings), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def running_album(postgres_dsn: str, folder: Path) -> AsyncIterator[RunningAlbum]:
    """The app over a control plane that no store notifies."""
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = (await app_of(plane, "upload:photos", "read:photos", "delete:photos")).secret
        with served_album(folder, plane.url, token) as url:
            yield RunningAlbum(plane, url)


async def shown(visitor: httpx.AsyncClient) -> dict[str, Any]:
    """The photos that a browser is shown, by key."""
    answer = await visitor.get("/photos")
    assert answer.status_code == 200, answer.text
    return {photo["key"]: photo for photo in answer.json()["photos"]}
