"""Probes which conditions the store of an output location honours: stores differ, and none says so.

Publishing rests on conditions. A store that takes ``If-Match`` with a wrong ETag lets a slow worker overwrite newer
results, so where conditions are not honoured no worker writes under stable keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import structlog

from webhook.config import Pipeline, Place
from webhook.loops import LoopHealth
from webhook.outputs.keys import new_control_key
from webhook.outputs.probing import PlaceProbes
from webhook.outputs.unsigned_headers import Taken, UnsignedHeaders
from webhook.storage import ObjectStore, PreconditionFailed, StoreError

log = structlog.get_logger()

AGAIN_SECONDS = 60.0
"""Between two probes of a location whose store did not honour conditions: the bucket may have been changed since."""
_PROBE_SECONDS = 30.0
_REFUSES = frozenset({400, 501})
"""How stores say that they do not know a condition."""
_WRONG = "0" * 32
"""An ETag that no object has."""


class Style(enum.StrEnum):
    """How ``If-Match`` has to be written."""

    QUOTED = "quoted"
    """As RFC 9110 has it."""
    UNQUOTED = "unquoted"
    """Ceph 16.2: the ETag without its quotes."""
    NONE = "none"
    """Conditions are ignored, or refused."""

    def match(self, etag: str) -> str:
        """The value of ``If-Match`` for an ETag."""
        return etag if self is Style.UNQUOTED else f'"{etag}"'


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found out about a store."""

    style: Style
    explanation: str
    """In words, for an operator."""


class Conditions:
    """What the store of each output location honours and refuses, and so whether and how workers publish there."""

    def __init__(self, pipelines: Collection[Pipeline], store: ObjectStore, health: LoopHealth | None = None) -> None:
        self._pipelines = pipelines
        self._health = health or LoopHealth()
        self._store = store
        self._headers = UnsignedHeaders(store)
        self._probes = PlaceProbes(self._probe)

    async def style(self, pipeline: Pipeline) -> Style:
        """How conditions are written at the pipeline's output; NONE: outputs are staged.

        Raises StoreError where a probe fails.
        """
        taken = await self._headers.taken(pipeline)
        if taken is Taken.HEADERS and pipeline.unsigned_headers == "stage":
            return Style.NONE
        if pipeline.conditions != "probe":
            return Style(pipeline.conditions)
        return (await self._probes.found(pipeline.output)).style

    def refusal(self, pipeline: Pipeline) -> str:
        """Why no work of a pipeline may be handed out, and what to do; empty where it may, or not probed yet."""
        if refused := self._headers.refusal(pipeline):
            return refused
        known = self._probes.known(pipeline.output)
        if pipeline.unconditional == "stage" or pipeline.conditions != "probe" or known is None:
            return ""
        return "" if known.style is not Style.NONE else refusal(pipeline.output, known)

    def fixes_length(self, pipeline: Pipeline) -> bool:
        """Whether no output can be longer than announced, as far as is known."""
        return self._headers.fixes_length(pipeline)

    async def watch(self) -> None:
        """Probe what is taken unsigned at the start, and the locations of refused pipelines anew, for ever."""
        while True:
            with self._health.turn("conditions"):
                await self.probe_unsigned()
            await asyncio.sleep(AGAIN_SECONDS)
            with self._health.turn("conditions"):
                await self.probe_refused_again()

    async def probe_unsigned(self) -> None:
        """Probe what is taken unsigned at each location where that is not known."""
        tried = {str(p.output): p.output for p in self._pipelines if p.unsigned_headers != "trust"}
        for place in tried.values():
            if not self._headers.is_known(place):
                with contextlib.suppress(StoreError):  # tried again later, and before any URL is signed
                    await self._headers.probe(place)

    async def probe_refused_again(self) -> None:
        """Probe the locations of refused pipelines anew."""
        for pipeline in {str(p.output): p for p in self._pipelines if self.refusal(p)}.values():
            with contextlib.suppress(StoreError):  # the earlier result stays
                if self._headers.refusal(pipeline):
                    await self._headers.probe(pipeline.output)
                else:
                    await self._probes.again(pipeline.output)

    async def aclose(self) -> None:
        """Cancel the probes that are under way."""
        await self._probes.aclose()
        await self._headers.aclose()

    async def _probe(self, place: Place) -> Probed:
        before, found = self._probes.known(place), await probe(self._store, place)
        if found.style is not Style.NONE:
            log.info("conditions are honoured", output=str(place), style=str(found.style))
        elif before is None or before.style is not Style.NONE:
            log.error("conditions are not honoured", output=str(place), found=found.explanation)
        return found


def refusal(place: Place, found: Probed) -> str:
    """Why nothing is published at a location, and what to do."""
    return (
        f"the store of {place} does not honour conditions ({found.explanation}), so a slow worker could overwrite "
        'newer results. Set unconditional = "stage" for the pipeline, or use a bucket that honours If-Match and '
        "If-None-Match: Tigris, AWS S3, MinIO, R2, or Ceph without versioning"
    )


async def probe(store: ObjectStore, place: Place) -> Probed:
    """Try each condition on a new object, which is deleted afterwards. Raises StoreError."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await _tried(store, place)
    except TimeoutError:
        raise StoreError(f"trying the conditions at {place} took too long", retry=True) from None


async def _tried(store: ObjectStore, place: Place) -> Probed:
    trial = _Trial(store, place)
    try:
        await trial.create()
    except StoreError as error:
        if error.status in _REFUSES:
            return Probed(Style.NONE, f"If-None-Match is refused: {error}")
        raise
    try:
        return await _judged(trial)
    finally:
        await trial.remove()


async def _judged(trial: _Trial) -> Probed:
    if await trial.taken_where_new():
        return Probed(Style.NONE, "If-None-Match: * is ignored; on Ceph, versioned buckets do that")
    for style in (Style.QUOTED, Style.UNQUOTED):
        if not await trial.taken_over(style.match(trial.etag)):
            continue
        if await trial.taken_over(style.match(_WRONG)):
            return Probed(Style.NONE, "If-Match is ignored: a wrong ETag was taken")
        return Probed(style, f"If-None-Match: * holds, If-Match holds with the ETag {style}")
    return Probed(Style.NONE, "If-Match is refused with the right ETag, with quotes and without")


class _Trial:
    """One object on which conditions are tried."""

    def __init__(self, store: ObjectStore, place: Place) -> None:
        self._store = store
        self._bucket = place.bucket
        self._key = new_control_key(place)
        self._writes = 0
        self.etag = ""

    async def create(self) -> None:
        """Put the object there."""
        try:
            self.etag = await self._store.put_new(self._bucket, self._key, self._content())
        except PreconditionFailed:  # the answer of a first attempt was lost
            raise StoreError(f"the store refuses to create {self._key!r}, which is not there", retry=True) from None

    async def taken_where_new(self) -> bool:
        """Whether it is written over under the condition that nothing is there."""
        return await self._taken(lambda content: self._store.put_new(self._bucket, self._key, content))

    async def taken_over(self, if_match: str) -> bool:
        """Whether it is written over under ``If-Match`` with just this value."""
        return await self._taken(lambda content: self._store.put_over(self._bucket, self._key, content, if_match))

    async def remove(self) -> None:
        """Delete the object. A failure is only logged: a probe that stays does no harm, and sweeps remove it."""
        try:
            await self._store.delete(self._bucket, self._key, "")
        except (StoreError, PreconditionFailed) as error:
            log.warning("probe left behind", bucket=self._bucket, key=self._key, error=str(error))

    async def _taken(self, write: Callable[[bytes], Awaitable[str]]) -> bool:
        try:
            self.etag = await write(self._content())
        except PreconditionFailed:
            await self._unchanged()
            return False
        except StoreError as error:
            if error.status in _REFUSES:
                return False
            raise
        return True

    async def _unchanged(self) -> None:
        """A write whose answer was lost and that was sent again is refused for what it did itself."""
        found = await self._store.head(self._bucket, self._key, consistent=True)
        if found is None or found.etag != self.etag:
            raise StoreError("a write that was refused has happened all the same", retry=True)

    def _content(self) -> bytes:
        """Content unlike all earlier ones, so that its ETag is different too."""
        self._writes += 1
        return f"Yurt tries what this bucket honours: {self._writes}\n".encode()
