"""Probes what the store of each input does with uploads: whether they can replace objects, and what is unsigned."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass

from webhook.config import Pipeline, Place
from webhook.outputs import unsigned_headers
from webhook.outputs.keys import new_control_key
from webhook.outputs.probing import PlaceProbes
from webhook.outputs.unsigned_headers import Taken
from webhook.storage import ObjectStore, PreconditionFailed, StoreError

_CONTENT = b"Yurt tries what this bucket honours.\n"


class CreateOnly(enum.Enum):
    """Whether ``If-None-Match: *`` keeps an upload from replacing an object."""

    HONOURED = "honoured"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class UploadRules:
    """What a store does with uploads."""

    taken: Taken
    create_only: CreateOnly


class UploadPlaces:
    """What the stores of inputs do with uploads, found out when first needed. Close with ``aclose``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._probes = PlaceProbes(self._probe)

    async def rules(self, pipeline: Pipeline) -> UploadRules:
        """What the store of a pipeline's input does. Raises StoreError where that cannot be found out."""
        return await self._probes.found(pipeline.input)

    async def aclose(self) -> None:
        """Cancel the probes that are under way."""
        await self._probes.aclose()

    async def _probe(self, place: Place) -> UploadRules:
        looseness = await unsigned_headers.probe(self._store, place)
        return UploadRules(looseness.taken, await self._tried_twice(place))

    async def _tried_twice(self, place: Place) -> CreateOnly:
        key = new_control_key(place)
        try:
            with contextlib.suppress(PreconditionFailed):  # the answer to a first attempt was lost
                await self._store.put_new(place.bucket, key, _CONTENT)
            try:
                await self._store.put_new(place.bucket, key, _CONTENT)
            except PreconditionFailed:
                return CreateOnly.HONOURED
            return CreateOnly.IGNORED
        except StoreError as error:
            if error.status in (400, 501):  # how stores say that they do not know the condition
                return CreateOnly.IGNORED
            raise
        finally:
            with contextlib.suppress(StoreError, PreconditionFailed):  # a sweep removes what stays
                await self._store.delete(place.bucket, key, "")


def refusal(pipeline: Pipeline, rules: UploadRules) -> str:
    """Why nothing may be uploaded to a pipeline by presigned requests, and what to do; empty: it may."""
    if pipeline.unsigned_headers == "trust" or rules.taken is Taken.NOTHING:
        return ""
    return (
        f"the store of {pipeline.input} takes x-amz-* headers that a presigned PUT does not sign, so whoever uploads "
        "could copy or publish what the key can read. Set YURT_PUBLISH_ACCESS_KEY_ID and its secret to a key that may "
        'write and read nothing, and unsigned_headers = "trust" for the pipeline, or use a store that refuses such '
        "headers: AWS S3, Tigris"
    )
