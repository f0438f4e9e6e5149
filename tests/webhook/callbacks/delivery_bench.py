"""A ledger, a store and one replica that delivers callbacks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from tests.polling import until
from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.ledger.ledger_bench import LedgerBench, done, event
from webhook.callbacks.composer import CallbackComposer
from webhook.callbacks.delivery import CallbackDelivery, CallbackLine
from webhook.callbacks.receiver import CallbackReceiver
from webhook.config import CallbackSettings, Pipeline
from webhook.ledger.callbacks import CallbackOutbox
from webhook.ledger.settles import SettleLog
from webhook.loops import LoopHealth
from webhook.pipelines import NamedPipeline
from webhook.storage.presign import Presigner, SigningKeys
from webhook.sweep.listing import ListingStore
from webhook.sweep.manifests import Manifests
from workers.manifest import Manifest, Seconds
from workers.protocol import Output, Version

PIPELINE = Pipeline.model_validate({"input": "s3://photos-in/", "output": "s3://photos-out/"})
PRESIGNER = Presigner("https://store.example.com", "auto", SigningKeys("key", "secret"))


def with_callback(settings: CallbackSettings) -> Pipeline:
    """A pipeline that tells an app."""
    return PIPELINE.model_copy(update={"callback": settings})


class StoredManifests:
    """A store that has the manifest of each result, in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, key: str, token: int, etag: str, verdict: str) -> None:
        manifest = Manifest(
            pipeline="photos", bucket="photos-in", key=key, input=Version(etag=etag), token=token, attempt=1,
            handler="photo", outputs=(Output(name="256.webp", etag="e1", size=3, content_type="image/webp"),),
            labels={"verdict": verdict}, seconds=Seconds(fetch=0, handle=0, publish=0),
            finished_at="2026-01-01T00:00:00Z",
        )  # fmt: skip
        self.contents[f"{key}/result.json"] = manifest.encode()

    async def read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str] | None:
        return (self.contents[key], "m1") if key in self.contents else None


class _CountedLine(CallbackLine):
    """A line whose end is counted."""

    def __init__(self, counts: DeliveryBench, *args: Any) -> None:
        super().__init__(*args)
        self._counts = counts

    async def run(self, health: LoopHealth) -> None:
        try:
            await super().run(health)
        finally:
            self._counts.lines_ended += 1


class DeliveryBench:
    """A ledger, a store and one replica that delivers."""

    def __init__(self, b: LedgerBench) -> None:
        self.b = b
        self.store = StoredManifests()
        self.outbox = CallbackOutbox(b.ledger)
        self.lines_ended = 0

    @contextlib.asynccontextmanager
    async def delivering(self, settings: CallbackSettings) -> AsyncIterator[None]:
        async with self.delivering_to({self.b.photos: ("photos", with_callback(settings))}):
            yield

    @contextlib.asynccontextmanager
    async def delivering_to(self, pipelines: dict[int, NamedPipeline]) -> AsyncIterator[CallbackDelivery]:
        """Deliver the callbacks of these pipelines, which may be changed meanwhile."""
        settles = SettleLog(self.b.ledger)
        delivery = CallbackDelivery(lambda: pipelines, self._line, settles)
        for number in pipelines:
            await self.outbox.begin(number)
        tasks = [asyncio.create_task(each.run()) for each in (settles, delivery)]
        try:
            yield delivery
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _line(self, number: int, named: NamedPipeline) -> CallbackLine:
        name, pipeline = named
        assert pipeline.callback
        composer = CallbackComposer(name, pipeline, Manifests(cast("ListingStore", self.store)), PRESIGNER)
        receiver = CallbackReceiver(pipeline.callback, [SECRET])
        return _CountedLine(self, number, name, self.outbox, composer, receiver)

    async def settle(self, key: str, etag: str = "v1", verdict: str = "ok") -> None:
        await self.b.record(event(key, etag))
        lease = await self.b.take()
        self.store.put(key, lease.token, etag, verdict)
        await self.b.settle(lease, done(etag))

    async def has_begun(self) -> bool:
        """Whether anything that is settled now is told."""
        return bool(await self.outbox.counts())

    async def counts(self) -> Sequence[int]:
        [row] = await self.outbox.counts()
        return row["told"], row["waiting"], row["given_up"], row["unaccounted"]

    async def until_counts(self, *counts: int) -> None:
        async def reached() -> bool:
            await self.b.advance(5)  # retries become due
            return list(await self.counts()) == [*counts]

        await until(reached, seconds=60)
