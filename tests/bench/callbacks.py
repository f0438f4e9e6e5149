"""Measures callbacks: from a settlement until an app on this machine has been told, its manifest read on the way."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import msgspec
from standardwebhooks import Webhook

from tests.bench.load import LoadConnection, Measured
from tests.bench.plane import CONFIG, BenchPlane, empty, fill, pipeline_number, serving
from tests.bench.report import BenchFigure
from tests.stream_server import stream_server
from tests.webhook.callbacks.receiving_app import SECRET
from workers.manifest import Manifest, Seconds
from workers.protocol import Version

_CALLBACKS = 1_000
_PER_SECOND = 100
_LATE_SECONDS = 20.0


class _StoreAndApp:
    """The store and the app in one: answers with the manifests of what was settled, and takes callbacks."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        """By the key of the input."""
        self.came: dict[str, float] = {}
        self.wrong = 0
        """Callbacks whose signature is wrong, or that came before."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, target, *_ = head.decode("latin-1").split(" ")
            lines = (line.partition(": ") for line in head.decode("latin-1").splitlines()[1:])
            fields = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if method == "POST":
                self._take(fields, body, time.perf_counter())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                writer.write(self._read(target.partition("?")[0]))

    def _take(self, fields: dict[str, str], body: bytes, now: float) -> None:
        told = Webhook(SECRET).verify(body, fields)
        self.wrong += told["data"]["key"] in self.came
        self.came.setdefault(told["data"]["key"], now)

    def _read(self, path: str) -> bytes:
        found = self.manifests.get(path.removeprefix("/photos-out/results/").removesuffix("/result.json"))
        if found is None:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        modified = format_datetime(datetime.now(UTC), usegmt=True)
        head = f'HTTP/1.1 200 OK\r\netag: "e"\r\nlast-modified: {modified}\r\ncontent-length: {len(found)}\r\n\r\n'
        return head.encode() + found


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure at a steady rate, and count what did not come, or came twice."""
    place = _StoreAndApp()
    async with stream_server(place.answer) as port:
        url = f"http://127.0.0.1:{port}"
        config = f'{CONFIG}[pipelines.photos.callback]\nurl = "{url}/hook"\nallow_private = true\n'
        with serving(folder, url, config, YURT_CALLBACK_SECRETS=SECRET) as plane:
            await empty(plane.dsn)
            await fill(plane.dsn, await pipeline_number(plane.dsn), _CALLBACKS, 0)
            told = await _settled(plane, place)
    return [
        BenchFigure(
            f"settled→told to an app, {_PER_SECOND} a second", told.rate, "callbacks/s",
            p50_ms=told.percentile_ms(0.5), p99_ms=told.percentile_ms(0.99), p50_at_most_ms=20, p99_at_most_ms=100,
        ),
        BenchFigure("callbacks that did not come, or came twice", _CALLBACKS - len(place.came) + place.wrong,
                    "callbacks", at_most=0),
    ]  # fmt: skip


async def _settled(plane: BenchPlane, place: _StoreAndApp) -> Measured:
    """Settle all objects at a steady rate. Returns the times from the settlement's request to the app."""
    connection = await LoadConnection.open(plane.url, plane.worker())
    sent: dict[str, float] = {}
    started = time.perf_counter()
    for number in range(_CALLBACKS):
        [lease] = msgspec.json.decode(await connection.post("/v1/leases", b'{"max": 1}'))["leases"]
        fetched = {"etag": f"{random.getrandbits(64):x}"}
        place.manifests[lease["key"]] = _manifest(lease["key"], lease["token"], fetched["etag"])
        await asyncio.sleep(max(0.0, started + number / _PER_SECOND - time.perf_counter()))
        sent[lease["key"]] = time.perf_counter()
        done = {"outcome": "done", "id": lease["id"], "token": lease["token"], "fetched": fetched, "outputs": []}
        await connection.post("/v1/leases", json.dumps({"max": 0, "settle": [done]}).encode())
    seconds = time.perf_counter() - started
    deadline = time.perf_counter() + _LATE_SECONDS
    while len(place.came) < _CALLBACKS and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    return Measured(_CALLBACKS, seconds, [place.came[key] - at for key, at in sent.items() if key in place.came])


def _manifest(key: str, token: int, etag: str) -> bytes:
    return Manifest(
        pipeline="photos", bucket="photos-in", key=key, input=Version(etag=etag), token=token, attempt=1,
        handler="photo", outputs=(), seconds=Seconds(fetch=0, handle=0, publish=0), finished_at=datetime.now(UTC),
    ).encode()  # fmt: skip
