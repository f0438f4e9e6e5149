"""Begins uploads by presigned requests, and carries large files through in parts. By token or ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth
from webhook.api.auth import bearer
from webhook.api.http import HttpProblem, json_response, path_id, read_model
from webhook.api.tickets import TicketAuth
from webhook.config import Pipeline
from webhook.content_types import is_allowed
from webhook.ledger.uploads import TICKET_PREFIX, PartedUpload, Ticket, UploadLedger
from webhook.pipelines import Pipelines
from webhook.storage import ObjectMissing, ObjectStore, PreconditionFailed, StoreError
from webhook.uploads import keys, signing
from webhook.uploads.keys import KeyRefused
from webhook.uploads.places import CreateOnly, UploadPlaces, refusal
from webhook.uploads.signing import MAX_BYTES, MAX_PARTS, MAX_PUT_BYTES, MIB, NewUpload, PartsWrong, StoredPart

URL_SECONDS = 3_600
"""How long a presigned request is valid. One that has begun goes on."""
MULTIPART_SECONDS = 6 * 86_400.0
"""How long a file may be uploaded in parts."""
_MULTIPART_BYTES = 100 * MIB
"""From here on a file is uploaded in parts unless its sender says otherwise."""
_MOST_URLS = 1_000
_TYPE = r"^[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,63}$"


class UploadRequest(BaseModel):
    """Asks for an upload of one file."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Needed with a token. A ticket knows its own."""
    name: Annotated[str, Field(min_length=1, max_length=1024)] = "file"
    """The file's name: the last part of its key is made of it."""
    size: Annotated[int, Field(ge=0, le=MAX_BYTES)]
    """Bytes: no more and no fewer are taken."""
    content_type: Annotated[str, Field(pattern=_TYPE)] = "application/octet-stream"
    prefix: Annotated[str, Field(max_length=300)] = ""
    """With a token: below the pipeline's own prefix."""
    key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """With a token: the whole key, in place of one that is made."""
    replace: bool = False
    """With ``key``: whether an object that is there is replaced."""
    multipart: bool | None = None
    """None: by the size."""

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.key is not None and self.prefix:
            raise ValueError("prefix does not go with key, which is the whole key")
        if self.replace and self.key is None:
            raise ValueError("replace needs key: a key that is made is a new one")
        if self.multipart is False and self.size > MAX_PUT_BYTES:
            raise ValueError("one PUT carries 5 GiB at most: leave multipart out, or set it to true")
        return self

    @property
    def in_parts(self) -> bool:
        """Whether the file is uploaded in parts."""
        return self.size > 0 and (self.size >= _MULTIPART_BYTES if self.multipart is None else self.multipart)


class PresignedPut(BaseModel):
    """One PUT of the whole file."""

    url: str
    headers: dict[str, str]
    """To be sent as they are."""


class PresignedForm(BaseModel):
    """A form to post, as ``multipart/form-data``: these fields first, then ``file``."""

    url: str
    fields: dict[str, str]


class PartsPlan(BaseModel):
    """A file that is uploaded in parts."""

    id: int
    part_bytes: int
    """Of each part but the last."""
    parts: int
    expires_at: datetime


class UploadPlan(BaseModel):
    """How one file is uploaded: ``put``, or ``form`` in its place; or ``multipart`` for a large one."""

    pipeline: str
    key: str
    put: PresignedPut | None = None
    form: PresignedForm | None = None
    """None also where an object could be replaced: a form knows no condition."""
    multipart: PartsPlan | None = None
    valid_seconds: int = URL_SECONDS


class PartsRequest(BaseModel):
    """Asks for URLs of parts."""

    model_config = ConfigDict(extra="forbid")

    numbers: Annotated[list[Annotated[int, Field(ge=1, le=MAX_PARTS)]], Field(min_length=1, max_length=_MOST_URLS)]


class PartUrl(BaseModel):
    """Where to PUT one part."""

    number: int
    size: int
    """Bytes: no more and no fewer are taken."""
    url: str


class PartUrls(BaseModel):
    """URLs of parts."""

    parts: list[PartUrl]
    valid_seconds: int = URL_SECONDS


class PartStatus(BaseModel):
    """A part that has arrived."""

    number: int
    size: int


class MultipartStatus(PartsPlan):
    """A file that is uploaded in parts, with those that have arrived: the others are still to be uploaded."""

    pipeline: str
    key: str
    size: int
    arrived: list[PartStatus]


class CompletedUpload(BaseModel):
    """A file whose parts were put together."""

    pipeline: str
    key: str
    etag: str


class AbortedUpload(BaseModel):
    """An upload that was given up."""

    pipeline: str
    key: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an upload goes, and on whose behalf."""

    name: str
    """The pipeline's."""
    pipeline: Pipeline
    key: str
    made: bool
    """Whether the key was made here, so that no other upload has it."""
    create_only: bool
    ticket: Ticket | None = None


class UploadApi:
    """Endpoints for uploads."""

    def __init__(
        self,
        uploads: UploadLedger,
        pipelines: Pipelines,
        store: ObjectStore,
        places: UploadPlaces,
        apps: AppAuth,
        tickets: TicketAuth,
    ) -> None:
        self._uploads = uploads
        self._pipelines = pipelines
        self._store = store
        self._places = places
        self._apps = apps
        self._tickets = tickets

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_upload(self, request: Request) -> Response:
        """Begin an upload of one file: presigned requests, bound to its type and length."""
        secret = bearer(request)
        if secret.startswith(TICKET_PREFIX):
            ticket = await self._tickets.uploading(request, secret)
            wanted = await read_model(request, UploadRequest)
            return json_response(await self._by_ticket(ticket, wanted), 201)
        caller = await self._apps.caller(request)
        wanted = await read_model(request, UploadRequest)
        if wanted.pipeline is None:
            raise HttpProblem(422, "malformed", "pipeline: it is needed with a token")
        caller.require(f"upload:{wanted.pipeline}")
        pipeline = self._pipeline(wanted.pipeline)
        with_key = wanted.key is not None
        try:
            key = (
                keys.checked(pipeline, wanted.key)
                if wanted.key is not None
                else keys.new_key(pipeline, wanted.prefix, wanted.name)
            )
        except KeyRefused as error:
            raise _key_refused(error) from None
        place = _Place(wanted.pipeline, pipeline, key, not with_key, not wanted.replace)
        return json_response(await self._begun(place, wanted), 201)

    async def _by_ticket(self, ticket: Ticket, wanted: UploadRequest) -> UploadPlan:
        _check_ticket(ticket, wanted)
        pipeline = self._pipeline(ticket.pipeline)
        await self._rules(pipeline)  # before one of its uploads is taken
        number = await self._uploads.take(ticket)
        if number is None:
            raise HttpProblem(403, "ticket-used", f"this ticket allows {ticket.uploads} uploads, and all were begun")
        try:
            key = keys.ticket_key(pipeline, ticket.folder, number, wanted.name)
            return await self._begun(_Place(ticket.pipeline, pipeline, key, True, True, ticket), wanted)
        except KeyRefused as error:
            await self._uploads.give_back(ticket)
            raise _key_refused(error) from None
        except HttpProblem:
            await self._uploads.give_back(ticket)
            raise

    async def _begun(self, place: _Place, wanted: UploadRequest) -> UploadPlan:
        conditional = await self._rules(place.pipeline)
        if place.create_only and not place.made and not conditional:
            raise HttpProblem(
                409, "not-conditional",
                "the store does not honour If-None-Match, so an object of this key could be replaced: leave key out, "
                "or set replace",
            )  # fmt: skip
        upload = NewUpload(
            place.pipeline.input.bucket, place.key, wanted.size, wanted.content_type, place.create_only and conditional
        )
        plan = UploadPlan(pipeline=place.name, key=place.key)
        if wanted.in_parts:
            plan.multipart = _plan(await self._begin_parts(place, upload))
            return plan
        put = signing.put(self._store, upload, URL_SECONDS)
        plan.put = PresignedPut(url=put.url, headers=put.fields)
        if place.made or not place.create_only:
            form = signing.form(self._store, upload, URL_SECONDS)
            plan.form = PresignedForm(url=form.url, fields=form.fields)
        return plan

    async def _begin_parts(self, place: _Place, upload: NewUpload) -> PartedUpload:
        try:
            store_id = await signing.begin(self._store, upload)
        except (StoreError, ObjectMissing) as error:
            raise _unavailable(place.pipeline, error) from None
        begun = PartedUpload(
            0, store_id, place.name, upload.bucket, upload.key, upload.size, signing.part_bytes(upload.size),
            place.ticket.id if place.ticket else None, upload.create_only,
        )  # fmt: skip
        return await self._uploads.begin(begun, MULTIPART_SECONDS)

    async def _rules(self, pipeline: Pipeline) -> bool:
        """Whether the store honours ``If-None-Match``. Raises HttpProblem where nothing may be uploaded."""
        try:
            rules = await self._places.rules(pipeline)
        except StoreError as error:
            raise _unavailable(pipeline, error) from None
        if refused := refusal(pipeline, rules):
            raise HttpProblem(409, "uploads-refused", refused)
        return rules.create_only is CreateOnly.HONOURED

    def _pipeline(self, name: str) -> Pipeline:
        pipeline = self._pipelines.named(name)
        if pipeline is None:
            raise HttpProblem(404, "unknown-pipeline", "there is no pipeline of that name")
        return pipeline

    # ── files in parts ───────────────────────────────────────────────────────────────────────────────────────────────

    async def show_upload(self, request: Request) -> Response:
        """Show a file that is uploaded in parts, with the parts that have arrived: to resume it."""
        upload = await self._multipart(request)
        arrived = [PartStatus(number=part.number, size=part.size) for part in await self._stored(upload)]
        return json_response(
            MultipartStatus(
                **_plan(upload).model_dump(), pipeline=upload.pipeline, key=upload.key, size=upload.bytes,
                arrived=arrived,
            )
        )  # fmt: skip

    async def sign_parts(self, request: Request) -> Response:
        """Presign the PUTs of some parts, each bound to its length."""
        upload = await self._multipart(request)
        numbers = (await read_model(request, PartsRequest)).numbers
        if max(numbers) > upload.parts:
            raise HttpProblem(422, "malformed", f"numbers: this file has {upload.parts} parts, counted from 1")
        parts = [
            PartUrl(number=n, size=upload.size_of(n), url=signing.part(self._store, upload, n, URL_SECONDS))
            for n in dict.fromkeys(numbers)
        ]
        return json_response(PartUrls(parts=parts))

    async def complete_upload(self, request: Request) -> Response:
        """Put the parts of a file together, once all have arrived with the sizes that were said."""
        upload = await self._multipart(request)
        try:
            etag = await signing.complete(self._store, upload)
        except PartsWrong as error:
            raise HttpProblem(409, "parts-missing", str(error)) from None
        except PreconditionFailed:
            raise HttpProblem(409, "key-taken", "an object of this key was uploaded meanwhile: it stays") from None
        except ObjectMissing:
            raise _unknown() from None
        except StoreError as error:
            raise _unavailable(self._pipeline(upload.pipeline), error) from None
        # It is kept until it expires: a completion whose answer was lost is asked for again.
        return json_response(CompletedUpload(pipeline=upload.pipeline, key=upload.key, etag=etag))

    async def abort_upload(self, request: Request) -> Response:
        """Give up a file that is uploaded in parts."""
        upload = await self._multipart(request)
        try:
            await signing.abort(self._store, upload)
        except StoreError as error:
            raise _unavailable(self._pipeline(upload.pipeline), error) from None
        await self._uploads.end(upload)
        return json_response(AbortedUpload(pipeline=upload.pipeline, key=upload.key))

    async def _multipart(self, request: Request) -> PartedUpload:
        """The upload of the path, if the request may carry it on."""
        secret = bearer(request)
        if secret.startswith(TICKET_PREFIX):
            ticket = await self._tickets.reading(request, secret)
            upload = await self._uploads.multipart(path_id(request, _unknown()))
            if upload is None or upload.ticket_id != ticket.id:
                raise _unknown()
            return upload
        caller = await self._apps.caller(request)
        upload = await self._uploads.multipart(path_id(request, _unknown()))
        if upload is None or not caller.allows(f"upload:{upload.pipeline}"):
            raise _unknown()
        return upload

    async def _stored(self, upload: PartedUpload) -> Sequence[StoredPart]:
        try:
            return await signing.parts(self._store, upload)
        except ObjectMissing:
            raise _unknown() from None
        except StoreError as error:
            raise _unavailable(self._pipeline(upload.pipeline), error) from None


def _check_ticket(ticket: Ticket, wanted: UploadRequest) -> None:
    """Raise HttpProblem 403 or 413 for what a ticket does not allow."""
    if wanted.pipeline not in (None, ticket.pipeline):
        raise HttpProblem(403, "outside-ticket", f"this ticket is for the pipeline {ticket.pipeline}")
    if wanted.key is not None or wanted.prefix:
        raise HttpProblem(403, "outside-ticket", "a ticket has a folder of its own: leave key and prefix out")
    if not is_allowed(wanted.content_type, ticket.content_types):
        allowed = ", ".join(ticket.content_types)
        raise HttpProblem(403, "type-not-allowed", f"this ticket allows {allowed}, not {wanted.content_type}")
    if wanted.size > ticket.max_bytes:
        raise HttpProblem(413, "too-large", f"this ticket allows files of {ticket.max_bytes} bytes at most")


def _plan(upload: PartedUpload) -> PartsPlan:
    assert upload.expires_at is not None
    return PartsPlan(id=upload.id, part_bytes=upload.part_bytes, parts=upload.parts, expires_at=upload.expires_at)


def _key_refused(error: KeyRefused) -> HttpProblem:
    return HttpProblem(422, "key-refused", str(error))


def _unknown() -> HttpProblem:
    return HttpProblem(404, "unknown-upload", "no such upload is under way: it was completed, given up, or has expired")


def _unavailable(pipeline: Pipeline, error: Exception) -> HttpProblem:
    return HttpProblem(
        503, "store-unavailable",
        f"uploads to {pipeline.input} are not possible now: {error}. The key that signs has to be allowed to write "
        "there, see docs/keys.md",
    )  # fmt: skip
