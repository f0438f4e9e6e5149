"""Adopts earlier results from their manifests: what the ledger has forgotten need not be processed again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from webhook.config import Pipeline
from webhook.events import ListedObject
from webhook.ledger.sweeps import AdoptedResult
from webhook.outputs.keys import KeyTooLong, output_key
from webhook.storage import StoreError
from webhook.sweep.listing import ListingStore
from workers.manifest import MAX_BYTES, Manifest
from workers.protocol import MANIFEST

_AT_ONCE = 8
"""Below the store's threads, which answer workers too."""


class Manifests:
    """Reads manifests, a few at once."""

    def __init__(self, store: ListingStore) -> None:
        self._store = store
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def results_of(self, name: str, pipeline: Pipeline, objects: Sequence[ListedObject]) -> list[AdoptedResult]:
        """Those of the objects whose present content has a result, with the result. Raises StoreError."""
        found = await asyncio.gather(*(self._adopted(name, pipeline, item) for item in objects))
        return [item for item in found if item]

    async def _adopted(self, name: str, pipeline: Pipeline, item: ListedObject) -> AdoptedResult | None:
        read = await self.read(pipeline, item.key)
        if read is None:
            return None
        manifest, etag = read
        told = (manifest.pipeline, manifest.bucket, manifest.key, manifest.input.etag)
        if told != (name, pipeline.input.bucket, item.key, item.etag):
            return None
        return AdoptedResult(item, manifest.token, published(manifest, etag))

    async def read(self, pipeline: Pipeline, key: str) -> tuple[Manifest, str] | None:
        """An object's manifest and the ETag of that, or None where there is none that can be read.

        Raises StoreError where the store may answer later.
        """
        try:
            where = output_key(pipeline, key, MANIFEST)
            async with self._places:
                found = await self._store.read(pipeline.output.bucket, where, MAX_BYTES)
            return (Manifest.decode(found[0]), found[1]) if found else None
        except StoreError as error:
            if error.retry:
                raise
            return None  # too long, in an archive or closed to us: the object is worked instead
        except (KeyTooLong, ValueError):
            return None


def published(manifest: Manifest, etag: str) -> dict[str, str]:
    """What was published, by name: every output's ETag, and the manifest's own."""
    return {**{output.name: output.etag for output in manifest.outputs}, MANIFEST: etag}
