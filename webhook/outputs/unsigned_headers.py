"""Probes whether a store takes headers that a presigned PUT does not sign, with the key that signs for workers.

AWS refuses each ``x-amz-*`` header that is not signed. Ceph and MinIO take it. There, a worker that adds
``x-amz-copy-source`` to the PUT of its own output copies, and so reads, whatever the key can read. With ``x-amz-acl``,
``x-amz-tagging``, ``x-amz-storage-class`` or ``x-amz-website-redirect-location`` it changes who may read an output, and
what becomes of it.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
from dataclasses import dataclass

import structlog

from webhook.config import Pipeline, Place
from webhook.outputs.keys import new_control_key
from webhook.outputs.probing import PlaceProbes
from webhook.storage import ObjectStore, PreconditionFailed, StoreError

log = structlog.get_logger()

_PROBE_SECONDS = 30.0
_MARK = "yurt-unsigned"


class Taken(enum.StrEnum):
    """What a store takes of the headers that a presigned PUT does not sign."""

    NOTHING = "nothing"
    HEADERS = "headers"
    """Headers, but the key that signs can read nothing, so that a copy fails."""
    COPIES = "copies"
    """Also ``x-amz-copy-source``: a presigned PUT reads what the key can read."""


@dataclass(frozen=True, slots=True)
class Looseness:
    """What a presigned PUT leaves to its holder."""

    taken: Taken
    fixes_length: bool
    """Whether the signed length is the only one that is taken. Otherwise what was stored is looked at when settling."""


class UnsignedHeaders:
    """What the store of each output location takes unsigned. Close with ``aclose``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._probes = PlaceProbes(self._probe)

    async def taken(self, pipeline: Pipeline) -> Taken:
        """What is taken at a pipeline's output. Raises StoreError where the probe fails."""
        if pipeline.unsigned_headers == "trust":
            return Taken.NOTHING
        return (await self._probes.found(pipeline.output)).taken

    def fixes_length(self, pipeline: Pipeline) -> bool:
        """Whether no output can be longer than announced, as far as is known."""
        found = self._probes.known(pipeline.output)
        return found is None or found.fixes_length

    def refusal(self, pipeline: Pipeline) -> str:
        """Why no work of a pipeline may be handed out, and what to do; empty where it may, or not probed yet."""
        found = None if pipeline.unsigned_headers == "trust" else self._probes.known(pipeline.output)
        return refusal(pipeline, found.taken) if found else ""

    def is_known(self, place: Place) -> bool:
        """Whether a location was probed."""
        return self._probes.known(place) is not None

    async def probe(self, place: Place) -> None:
        """Probe a location anew. Raises StoreError."""
        await self._probes.again(place)

    async def aclose(self) -> None:
        """Cancel the probes that are under way."""
        await self._probes.aclose()

    async def _probe(self, place: Place) -> Looseness:
        found = await probe(self._store, place)
        if found.taken is not Taken.NOTHING:
            log.error("unsigned headers are taken", output=str(place), taken=str(found.taken))
        return found


def refusal(pipeline: Pipeline, taken: Taken) -> str:
    """Why nothing of a pipeline is published, and what to do; empty: it may be."""
    if taken is Taken.COPIES:
        return (
            f"the store of {pipeline.output} takes an unsigned x-amz-copy-source, so a worker could read through its "
            "upload whatever the key can read. Set YURT_PUBLISH_ACCESS_KEY_ID and YURT_PUBLISH_SECRET_ACCESS_KEY to a "
            "key that may write outputs and read nothing, or use a store that refuses unsigned x-amz-* headers: AWS S3"
        )
    if taken is Taken.HEADERS and pipeline.unsigned_headers == "refuse":
        return (
            f"the store of {pipeline.output} takes x-amz-* headers that are not signed, so a worker could make its "
            'outputs public, or change where they lead. Set unsigned_headers = "stage" for the pipeline, or use a '
            "store that refuses such headers: AWS S3"
        )
    return ""


async def probe(store: ObjectStore, place: Place) -> Looseness:
    """Try all on new objects, which are deleted afterwards. Raises StoreError."""
    trial = _UnsignedTrial(store, place)
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return Looseness(await trial.taken(), not await trial.keeps_other_length())
    except TimeoutError:
        raise StoreError(f"trying unsigned headers at {place} took too long", retry=True) from None
    finally:
        await trial.remove()


class _UnsignedTrial:
    """Objects on which unsigned headers are tried."""

    def __init__(self, store: ObjectStore, place: Place) -> None:
        self._store = store
        self._bucket = place.bucket
        self._source, self._target = new_control_key(place), new_control_key(place)
        self._content = f"Yurt tries what this bucket takes unsigned: {secrets.token_hex(8)}\n".encode()

    async def taken(self) -> Taken:
        """What is taken of headers that are not signed."""
        if await self.copies():
            return Taken.COPIES
        return Taken.HEADERS if await self.keeps_headers() else Taken.NOTHING

    async def copies(self) -> bool:
        """Whether a presigned PUT of nothing becomes a copy of an object that was not named by the URL."""
        status = await self._store.put_presigned(self._bucket, self._source, self._content, {})
        if status >= 400:
            raise StoreError(f"the store refuses a presigned PUT ({status}): may the key write outputs?", retry=False)
        status = await self._put(b"", {"x-amz-copy-source": f"/{self._bucket}/{self._source}"})
        if status >= 400:
            return False
        found = await self._store.read(self._bucket, self._target, len(self._content))
        return found is not None and found[0] == self._content

    async def keeps_other_length(self) -> bool:
        """Whether more is stored than the signed length allows."""
        length = len(self._content)
        status = await self._store.put_presigned(self._bucket, self._target, self._content * 2, {}, length)
        if status >= 400:
            return False
        head = await self._store.head(self._bucket, self._target, consistent=True)
        return head is not None and head.size > length

    async def keeps_headers(self) -> bool:
        """Whether a header that was not signed is stored."""
        if await self._put(self._content, {f"x-amz-meta-{_MARK}": "1"}) >= 400:
            return False
        head = await self._store.head(self._bucket, self._target, consistent=True)
        return head is not None and _MARK in head.metadata

    async def remove(self) -> None:
        """Delete the objects. A failure is only logged: a probe that stays does no harm, and sweeps remove it."""
        for key in (self._source, self._target):
            try:
                await self._store.delete(self._bucket, key, "")
            except (StoreError, PreconditionFailed) as error:
                log.warning("probe left behind", bucket=self._bucket, key=key, error=str(error))

    async def _put(self, content: bytes, unsigned: dict[str, str]) -> int:
        return await self._store.put_presigned(self._bucket, self._target, content, unsigned)
