"""Tells apps the state of objects and where their results are, at once or when something changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

import structlog
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem, json_response, read_query
from webhook.api.readers import Readers
from webhook.config import Pipeline
from webhook.ledger.known_objects import KnownObject, KnownObjects, ObjectStateName
from webhook.ledger.settles import Settle, SettleLog
from webhook.outputs import keys
from webhook.outputs.keys import KeyTooLong
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, StoreError
from webhook.sweep.manifests import Manifests
from workers.manifest import Manifest
from workers.protocol import MANIFEST

log = structlog.get_logger()

URL_SECONDS = 3_600
"""How long the URL of a result is valid."""
LONGEST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
"""Between two looks at an object that is waited for: what is no settle is not announced."""
_MAX_PAGE = 1_000
_CACHED_MANIFESTS = 512
_CACHED_BYTES = 16_384
"""Larger ones are read again each time."""


class ObjectQuery(BaseModel):
    """Says whether to wait for a change."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)] = 0
    """Seconds, until the object is settled; with ``after``, until it is another than that."""
    after: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """``version`` of an earlier answer."""
    ticket: Annotated[str, Field(max_length=200)] | None = None


class ObjectListQuery(BaseModel):
    """Selects the objects of a page."""

    model_config = ConfigDict(extra="forbid")

    prefix: Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")] = ""
    cursor: Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")] = ""
    """``next`` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=_MAX_PAGE)] = 100
    ticket: Annotated[str, Field(max_length=200)] | None = None


class ObjectProgress(BaseModel):
    """How far an object is that is not settled."""

    phase: Literal["queued", "retrying", "working", "checking"]
    """``checking``: whether it was deleted."""
    attempt: int
    """1 for the first."""
    retry_in_seconds: float | None = None


class ResultFile(BaseModel):
    """One file of a result."""

    name: str
    url: str
    etag: str
    size: int | None = None
    content_type: str | None = None


class ObjectResult(BaseModel):
    """The result that is in the output bucket. While newer content is worked on, it is that of the earlier content."""

    etag: str
    """Of the content that it was made from."""
    modified: datetime | None
    finished_at: datetime | None
    files: list[ResultFile]
    verdict: str | None = None
    """Of the checks, for one object: ``ok``, ``review`` or ``refused``."""
    labels: dict[str, JsonValue] | None = None
    """For one object, not in a list."""


class ObjectError(BaseModel):
    """Why an object is parked."""

    reason: str
    message: str


class ObjectReport(BaseModel):
    """One object, as an app sees it."""

    pipeline: str
    key: str
    state: ObjectStateName
    version: str
    """Another one whenever something has changed."""
    updated_at: datetime
    """The last event or result."""
    size: int | None
    progress: ObjectProgress | None
    result: ObjectResult | None
    error: ObjectError | None


class ObjectPage(BaseModel):
    """One page of objects, by key."""

    objects: list[ObjectReport]
    next: str | None
    """``cursor`` of the next page. None: this is the last."""


class ObjectWaits:
    """Requests that wait for an object, woken when it is settled."""

    def __init__(self, settles: SettleLog) -> None:
        self._settles = settles
        self._waiting: dict[tuple[int, str], set[asyncio.Event]] = {}
        self._following = ExitStack()
        self.leaving = False

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._waiting.values()))

    def begin(self, place: tuple[int, str]) -> asyncio.Event:
        """An event that is set when the object is settled. Give it back with ``end``."""
        if not self._waiting:
            self._following.enter_context(self._settles.following(self._settled))
        changed = asyncio.Event()
        self._waiting.setdefault(place, set()).add(changed)
        return changed

    def end(self, place: tuple[int, str], changed: asyncio.Event) -> None:
        """Wait no more."""
        self._waiting[place].discard(changed)
        if not self._waiting[place]:
            del self._waiting[place]
        if not self._waiting:
            self._following.close()

    def close(self) -> None:
        """Let all requests answer what is known now."""
        self.leaving = True
        for events in self._waiting.values():
            for changed in events:
                changed.set()

    def _settled(self, settles: Sequence[Settle]) -> None:
        for settle in settles:
            for changed in self._waiting.get((settle.pipeline_id, settle.key), ()):
                changed.set()


class ObjectApi:
    """Endpoints for objects."""

    def __init__(
        self, objects: KnownObjects, pipelines: Pipelines, store: ObjectStore, readers: Readers, settles: SettleLog
    ) -> None:
        self._objects = objects
        self._pipelines = pipelines
        self._store = store
        self._readers = readers
        self._reader = Manifests(store)
        self._waits = ObjectWaits(settles)
        self._manifests: OrderedDict[tuple[str, str, str], Manifest] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Requests that wait for an object."""
        return self._waits.waiting

    def close(self) -> None:
        """Answer the requests that wait."""
        self._waits.close()

    async def show_object(self, request: Request) -> Response:
        """Show one object: its state, its result with URLs, why it failed. May wait until that changes."""
        query = read_query(request, ObjectQuery)
        name, key = request.path_params["pipeline"], request.path_params["key"]
        reader = await self._readers.of(request, name, query.ticket)
        reader.check(key)
        known = None
        if "\0" not in key:
            known = await self._awaited((reader.pipelines[0], key), query)
        # A pipeline may have been removed while this waited.
        if known is None or known.pipeline_id not in self._pipelines.by_id:
            raise HttpProblem(404, "unknown-object", "the ledger knows no such object: no event of it has come yet")
        report = self._report(known)
        if report.result is not None:
            await self._add_manifest(known, report.result)
        return json_response(report)

    async def list_objects(self, request: Request) -> Response:
        """List the objects of a pipeline by key, with the URLs of their results."""
        query = read_query(request, ObjectListQuery)
        reader = await self._readers.of(request, request.path_params["pipeline"], query.ticket)
        prefix = reader.narrowed(query.prefix)
        page = await self._objects.page(reader.pipelines[0], prefix, query.cursor, query.limit)
        following = page[-1].key if len(page) == query.limit else None
        return json_response(ObjectPage(objects=[self._report(known) for known in page], next=following))

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _awaited(self, place: tuple[int, str], query: ObjectQuery) -> KnownObject | None:
        if not query.wait:
            return await self._objects.one(*place)
        ends_at = asyncio.get_running_loop().time() + query.wait
        changed = self._waits.begin(place)  # before the first look, so that nothing comes in between
        try:
            while True:
                known = await self._objects.one(*place)
                left_seconds = ends_at - asyncio.get_running_loop().time()
                if _is_awaited(known, query.after) or left_seconds <= 0 or self._waits.leaving:
                    return known
                changed.clear()
                await _set_within(changed, min(_LOOK_SECONDS, left_seconds))
        finally:
            self._waits.end(place, changed)

    # ── reporting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _report(self, known: KnownObject) -> ObjectReport:
        name, pipeline = self._pipelines.by_id[known.pipeline_id]
        result = None
        if known.done_etag is not None:
            result = ObjectResult(
                etag=known.done_etag, modified=known.done_modified, finished_at=known.done_at,
                files=[self._file(pipeline, known.key, *output) for output in known.published.items()],
            )  # fmt: skip
        error = None
        if known.state == "parked":
            error = ObjectError(reason=known.reason or "", message=known.message or "")
        return ObjectReport(
            pipeline=name, key=known.key, state=known.state, version=known.version,
            updated_at=max(known.event_at, known.done_at or known.event_at), size=known.event_size,
            progress=None if known.is_settled else _progress(known), result=result, error=error,
        )  # fmt: skip

    def _file(self, pipeline: Pipeline, key: str, name: str, etag: str) -> ResultFile:
        stable = keys.output_key(pipeline, key, name)
        if pipeline.public_url:
            url = f"{pipeline.public_url.rstrip('/')}/{quote(stable, safe='/~')}"
        else:
            url = self._store.presigner.url("GET", pipeline.output.bucket, stable, expires_seconds=URL_SECONDS)
        return ResultFile(name=name, url=url, etag=etag)

    async def _add_manifest(self, known: KnownObject, result: ObjectResult) -> None:
        """Add what the manifest alone knows. Without it the answer is as good as a list's."""
        manifest = await self._manifest(known)
        if manifest is None:
            return
        outputs = {output.name: output for output in manifest.outputs}
        for file in result.files:
            if (output := outputs.get(file.name)) is not None and output.etag == file.etag:
                file.size, file.content_type = output.size, output.content_type
        result.labels = manifest.labels
        verdict = manifest.labels.get("verdict")
        result.verdict = verdict if isinstance(verdict, str) else None

    async def _manifest(self, known: KnownObject) -> Manifest | None:
        _, pipeline = self._pipelines.by_id[known.pipeline_id]
        etag = known.published.get(MANIFEST)
        if etag is None:
            return None
        try:
            place = pipeline.output.bucket, keys.output_key(pipeline, known.key, MANIFEST), etag
            if place in self._manifests:
                self._manifests.move_to_end(place)
                return self._manifests[place]
            found = await self._reader.read(pipeline, known.key)
        except (StoreError, KeyTooLong) as error:
            log.warning("manifest not read", pipeline=known.pipeline_id, error=str(error))
            return None
        if found is None or found[1] != etag:
            return None  # a newer result is being published
        return self._cached(place, found[0])

    def _cached(self, place: tuple[str, str, str], manifest: Manifest) -> Manifest:
        if len(manifest.encode()) <= _CACHED_BYTES:
            self._manifests[place] = manifest
        if len(self._manifests) > _CACHED_MANIFESTS:
            self._manifests.popitem(last=False)
        return manifest


def _is_awaited(known: KnownObject | None, after: str | None) -> bool:
    if known is None:
        return False
    return known.is_settled if after is None else known.version != after


async def _set_within(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return


def _progress(known: KnownObject) -> ObjectProgress:
    if known.lane == "check":
        return ObjectProgress(phase="checking", attempt=known.attempts + 1)
    if known.state == "leased":
        return ObjectProgress(phase="working", attempt=max(known.attempts, 1))
    if not known.attempts:
        return ObjectProgress(phase="queued", attempt=1)
    return ObjectProgress(phase="retrying", attempt=known.attempts + 1, retry_in_seconds=round(known.due_in_seconds, 3))
