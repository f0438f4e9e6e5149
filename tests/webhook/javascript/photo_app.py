"""All that a photo app has: a store, a control plane, a worker, the app's server, and visitors with a browser."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyvips
from playwright.async_api import Browser, Page

from infra.cors import apply_cors, plan_cors, wanted_rules
from tests.infra.local.running import RunningBucket
from tests.polling import until
from tests.webhook.apps import App, app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.javascript.app_server import AppServer
from tests.webhook.page.chromium import launched, tab
from tests.webhook.plane import RunningPlane, Worker, control_plane, event
from tests.webhook.settlements import failed
from workers.handlers.photo import thumbhash
from workers.manifest import Manifest, Seconds
from workers.protocol import Lease, Output, Version

WIDTH, HEIGHT = 60, 40


RED, BLUE, YELLOW = [220, 30, 30], [30, 30, 220], [255, 255, 0]


def picture(width: int = WIDTH, height: int = HEIGHT, above: list[int] = RED) -> pyvips.Image:
    """One colour above, blue below."""
    halves = [pyvips.Image.black(width, height // 2, bands=3) + colour for colour in (above, BLUE)]
    return halves[0].join(halves[1], "vertical").cast("uchar").copy(interpretation="srgb")


def placeholder(width: int = WIDTH, opacity: int = 255, above: list[int] = RED) -> str:
    """A picture's ThumbHash, in Base64."""
    rgba = bytes(picture(width, above=above).bandjoin(opacity).write_to_memory())
    return base64.b64encode(thumbhash.encode(width, HEIGHT, rgba)).decode()


LABELS: Mapping[str, Any] = {"width": 6_000, "height": 4_000, "thumbhash": placeholder()}


@dataclass(frozen=True, slots=True)
class PhotoApp:
    """The running parts."""

    runner: asyncio.Runner
    plane: RunningPlane
    buckets: BucketPair
    server: AppServer
    browser: Browser
    token: App
    worker: Worker = field(repr=False)

    @contextlib.asynccontextmanager
    async def visited(self, content: str = "", **attributes: Any) -> AsyncIterator[Page]:
        """The app's page in a new tab, with the module loaded. ``attributes`` are those of the server."""
        for name, value in {"content": content, "connect_to": "", "scripts": {}, **attributes}.items():
            setattr(self.server, name, value)
        self.server.asked.clear()
        async with tab(self.browser) as page:
            await page.goto(self.server.url)
            await loaded(page)
            yield page

    async def ticket(self, **fields: Any) -> str:
        """A new ticket, by default for ten uploads."""
        return (await self.token.ticket(**{"uploads": 10, **fields})).secret

    def inputs(self) -> dict[str, int]:
        """Sizes of the uploaded files by key."""
        listed = self.buckets.s3.list_objects_v2(Bucket=self.buckets.inputs).get("Contents", [])
        return {item["Key"]: item["Size"] for item in listed}

    async def uploaded(self, count: int = 1) -> list[str]:
        """Keys of the files in the input bucket, once there are so many."""

        async def there() -> list[str]:
            keys = [*await asyncio.to_thread(self.inputs)]
            return keys if len(keys) >= count else []

        return await until(there, pause_seconds=0.05)

    def emptied(self) -> None:
        """Take all files out of the input bucket."""
        for key in self.inputs():
            self.buckets.s3.delete_object(Bucket=self.buckets.inputs, Key=key)

    async def leased(self, key: str) -> Lease:
        """Announce a file, and lease it as a worker."""
        await self.plane.notify(event(key, bucket=self.buckets.inputs))
        lease = await self.worker.lease()
        assert lease.key == key
        return lease

    async def publish(self, lease: Lease, sides: Sequence[int] = (40, 60), **labels: Any) -> None:
        """Publish pictures and a manifest as the handler of photos does, and settle."""
        made = []
        for side in sides:
            body = bytes(picture(side, side * HEIGHT // WIDTH).webpsave_buffer())
            etag = self.buckets.put(f"{lease.key}/{side}.webp", body)
            made.append(Output(name=f"{side}.webp", etag=etag, size=len(body), content_type="image/webp"))
        manifest = Manifest(
            pipeline="photos", bucket=self.buckets.inputs, key=lease.key,
            input=Version(etag="e", modified=None, size=1), token=lease.token, attempt=1, handler="photo",
            outputs=tuple(made), labels={**LABELS, **labels}, seconds=Seconds(fetch=0, handle=0, publish=0),
            finished_at="2026-05-15T10:30:00Z",
        ).encode()  # fmt: skip
        etag = self.buckets.put(f"{lease.key}/result.json", manifest)
        outputs = [each.model_dump() for each in made]
        outputs.append({"name": "result.json", "etag": etag, "size": len(manifest), "content_type": "application/json"})
        done = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "e"}, "outputs": outputs}
        await self._settle(done)

    async def park(self, lease: Lease, message: str) -> None:
        """Say that the file cannot be processed."""
        await self._settle(failed(lease, retry=False, reason="unreadable", message=message))

    async def _settle(self, settlement: Mapping[str, Any]) -> None:
        answer = await self.worker.ask(most=0, settle=[settlement])
        assert answer.settled[0].accepted


async def loaded(page: Page) -> None:
    """Wait until the page's script has run."""
    await page.wait_for_function("() => window.ready")


async def events_of(page: Page, count: int) -> list[dict[str, Any]]:
    """The events of a page's elements, once there are so many."""
    await page.wait_for_function("(count) => told.length >= count", arg=count)
    return list(await page.evaluate("told"))


@contextlib.asynccontextmanager
async def photo_app(dsn: str, store: RunningBucket, runner: asyncio.Runner) -> AsyncIterator[PhotoApp]:
    """Start all parts."""
    buckets = BucketPair.made(store)
    config = buckets.configured(conditions="quoted", attempts=1)
    for bucket, rule in wanted_rules(config, ["http://127.0.0.1:*"]).items():
        apply_cors(buckets.s3, plan_cors(buckets.s3, bucket, rule))
    async with control_plane(dsn, config, store=store.endpoint) as plane, launched() as browser:
        server = AppServer(plane.url, store.endpoint)
        try:
            yield PhotoApp(runner, plane, buckets, server, browser, await app_of(plane), await plane.worker())
        finally:
            server.close()
