"""Takes files that are dropped on the page: presigns their uploads, and tells what becomes of them.

The browser uploads straight to the input bucket. Each file gets a new key, in a folder with a random name, so no upload
ever replaces another object.
"""

from __future__ import annotations

import asyncio
import mimetypes
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem, checked_model, json_response
from webhook.config import Pipeline
from webhook.ledger.objects import ObjectRows, ObjectStanding
from webhook.page.access import PageAuth
from webhook.page.files import ResultFiles
from webhook.page.manifests import ManifestRead, read_manifest, short_labels
from webhook.page.rendering import Rendering
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, StoreError
from webhook.uploads.keys import KeyRefused, new_key
from webhook.uploads.places import UploadPlaces, UploadRules, refusal
from webhook.uploads.signing import MAX_PUT_BYTES, NewUpload, put

_MOST_FOLLOWED = 100
_URL_SECONDS = 3_600


class DroppedFile(BaseModel):
    """A file that a browser wants to upload."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(min_length=1, max_length=1_000)]
    size: Annotated[int, Field(ge=0, le=MAX_PUT_BYTES)]


class DropUpload(BaseModel):
    """Where to PUT it."""

    key: str
    url: Annotated[str, Field(repr=False)]
    headers: dict[str, str]
    """To send with it."""


class FollowedDrops(BaseModel):
    """Files whose fate a browser asks for."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(max_length=100)]
    keys: Annotated[list[Annotated[str, Field(min_length=1, max_length=1_024)]], Field(max_length=_MOST_FOLLOWED)]


class DropFate(BaseModel):
    """What has become of one file: its state, and its tile as HTML."""

    state: str
    html: str


class DropFates(BaseModel):
    """The same of several, by position."""

    files: list[DropFate]


class Drops:
    """Endpoints for files that are dropped on the page. An administrator's alone."""

    def __init__(
        self,
        pipelines: Pipelines,
        store: ObjectStore,
        places: UploadPlaces,
        objects: ObjectRows,
        files: ResultFiles,
        auth: PageAuth,
        rendering: Rendering,
    ) -> None:
        self._pipelines = pipelines
        self._store = store
        self._places = places
        self._objects = objects
        self._files = files
        self._auth = auth
        self._rendering = rendering

    async def upload(self, request: Request) -> Response:
        """Presign the upload of one file."""
        file = checked_model(await self._auth.json(request), DroppedFile)
        _, pipeline = self._pipelines.by_id[self._files.number_of(file.pipeline)]
        if why := refusal(pipeline, await self._rules(pipeline)):
            raise HttpProblem(409, "uploads-refused", why)
        try:
            key = new_key(pipeline, f"dropped/{datetime.now(UTC):%Y-%m-%d}", file.name)
        except KeyRefused as error:
            raise HttpProblem(422, "key-refused", str(error)) from None
        new = NewUpload(pipeline.input.bucket, key, file.size, _content_type(key), create_only=False)
        signed = put(self._store, new, _URL_SECONDS)
        return json_response(DropUpload(key=key, url=signed.url, headers=signed.fields), 201)

    async def _rules(self, pipeline: Pipeline) -> UploadRules:
        try:
            return await self._places.rules(pipeline)
        except StoreError as error:
            message = f"the store of {pipeline.input} cannot be tried with an upload: {error}"
            raise HttpProblem(503, "store-unavailable", message) from None

    async def follow(self, request: Request) -> Response:
        """Tell what has become of some files."""
        asked = checked_model(await self._auth.json(request), FollowedDrops)
        number = self._files.number_of(asked.pipeline)
        if any("\x00" in key for key in asked.keys):
            raise HttpProblem(422, "malformed", "a key holds no NUL")
        rows = await self._objects.progress([(number, key) for key in asked.keys])
        fates = await asyncio.gather(*(self._fate(number, key, row) for key, row in zip(asked.keys, rows, strict=True)))
        return json_response(DropFates(files=fates))

    async def _fate(self, number: int, key: str, row: ObjectStanding | None) -> DropFate:
        if row is None:
            return DropFate(state="unknown", html="")
        read = ManifestRead(None)
        if row.state == "done":  # the browser asks no more after that, so it is read once
            read = await read_manifest(self._store, self._pipelines.by_id[number][1], key)
        tile = self._files.shown((number, key), row)
        return DropFate(
            state=row.state, html=self._rendering.part("tile.html", tile=tile, labels=short_labels(read)).strip()
        )


def _content_type(key: str) -> str:
    """The type by the file's name. Of types that a browser could run, signing has the store answer with a download."""
    return mimetypes.guess_type(key)[0] or "application/octet-stream"
