"""Adopts earlier results from their manifests, so that objects without a row are not processed again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from webhook.config import Pipeline
from webhook.events import ListedObject
from webhook.ledger.sweeps import AdoptedResult
from webhook.outputs.keys import KeyTooLong, output_key
from webhook.storage import StoreError
from webhook.sweep.listing import ListingStore
from workers.manifest import MAX_BYTES, Manifest, verdict_of
from workers.protocol import MANIFEST

_AT_ONCE = 8
"""Reads at once: below the number of the store client's threads, which requests of workers need too."""


class Manifests:
    """Reads manifests of published results, a few at once."""

    def __init__(self, store: ListingStore) -> None:
        self._store = store
        self._semaphore = asyncio.Semaphore(_AT_ONCE)

    async def results_of(self, name: str, pipeline: Pipeline, objects: Sequence[ListedObject]) -> list[AdoptedResult]:
        """Return the earlier results of objects whose present content has one. Raises StoreError."""
        results = await asyncio.gather(*(self._adopted(name, pipeline, item) for item in objects))
        return [result for result in results if result]

    async def _adopted(self, name: str, pipeline: Pipeline, item: ListedObject) -> AdoptedResult | None:
        read = await self.read(pipeline, item.key)
        if read is None:
            return None
        manifest, etag = read
        # A manifest counts only for the very input that it names: another pipeline may have written to this location.
        identity = (manifest.pipeline, manifest.bucket, manifest.key, manifest.input.etag)
        if identity != (name, pipeline.input.bucket, item.key, item.etag):
            return None
        return AdoptedResult(item, manifest.token, published(manifest, etag), verdict_of(manifest.labels))

    async def read(self, pipeline: Pipeline, key: str) -> tuple[Manifest, str] | None:
        """Return an object's manifest with its ETag, or None where there is none that can be read.

        Raises StoreError where the store may answer later.
        """
        try:
            where = output_key(pipeline, key, MANIFEST)
            async with self._semaphore:
                content = await self._store.read(pipeline.output.bucket, where, MAX_BYTES)
            return (Manifest.decode(content[0]), content[1]) if content else None
        except StoreError as error:
            if error.retry:
                raise
            return None  # too long, archived or access denied: the object is processed instead
        except (KeyTooLong, ValueError):
            return None


def published(manifest: Manifest, etag: str) -> dict[str, str]:
    """Return the ETags of a result's outputs by name, the manifest included."""
    return {**{output.name: output.etag for output in manifest.outputs}, MANIFEST: etag}
