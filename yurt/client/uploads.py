"""Uploads files: by one PUT, or in parts side by side, which can be resumed. The protocol, without a way to block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from yurt.client.answers import UploadedFile
from yurt.client.file_content import FileContent, FileOrPath
from yurt.client.progress import Progress, UploadProgress, bar_for
from yurt.content_types import guessed_type
from yurt.errors import KeyTaken, NotReachable, Refused, UploadInterrupted
from yurt.http_api import HttpApi, store_refusal
from yurt.transport import Body, HttpAnswer, Job

PARTS_BYTES = 32 << 20
"""From this size on a file is uploaded in parts: side by side, and to be resumed."""
_PARTS_AT_ONCE = 4
_CHUNK_BYTES = 256 << 10
_ROUNDS = 3
"""How often parts are sent that the bucket has lost."""
_COMPLETE_SECONDS = 300.0
"""A bucket may take minutes to put thousands of parts together."""
_WHOLE = 0
"""Number of what is sent by one PUT; parts are counted from 1."""
_ENDED = frozenset({"unknown-upload", "key-taken"})
"""Codes after which an upload cannot be resumed."""


@dataclass(frozen=True, slots=True)
class UploadOrder:
    """What is uploaded, and to where."""

    pipeline: str
    prefix: str
    key: str
    name: str
    content_type: str
    replace: bool

    def content_type_of(self, content: FileContent) -> str:
        """The type that was given, or the one that a name says."""
        return self.content_type or guessed_type(self.name or self.key or content.name)

    def message(self, content: FileContent) -> Mapping[str, Any]:
        """The request for an upload. A ticket allows no field that is not set."""
        fields = {
            "pipeline": self.pipeline,
            "prefix": self.prefix,
            "key": self.key,
            "name": self.name or content.name,
            "replace": self.replace,
        }
        return {
            **{name: value for name, value in fields.items() if value},
            "size": content.size,
            "content_type": self.content_type_of(content),
            "multipart": content.size >= PARTS_BYTES,
        }


@dataclass(frozen=True, slots=True)
class _Put:
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Parts:
    id: int


@dataclass(frozen=True, slots=True)
class _Plan:
    pipeline: str
    key: str
    put: _Put | None
    multipart: _Parts | None


@dataclass(frozen=True, slots=True)
class _Arrived:
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class _PartsState:
    id: int
    pipeline: str
    key: str
    size: int
    part_bytes: int
    parts: int
    arrived: tuple[_Arrived, ...]

    def size_of(self, number: int) -> int:
        return min(self.part_bytes, self.size - (number - 1) * self.part_bytes)

    def missing(self) -> list[int]:
        there = {part.number for part in self.arrived if part.size == self.size_of(part.number)}
        return [number for number in range(1, self.parts + 1) if number not in there]


@dataclass(frozen=True, slots=True)
class _PartUrl:
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _PartUrls:
    parts: tuple[_PartUrl, ...]


@dataclass(frozen=True, slots=True)
class _Completed:
    etag: str


async def upload(
    api: HttpApi,
    file: FileOrPath,
    order: UploadOrder,
    resume: int | None,
    began: Callable[[int], None] | None,
    progress: Progress | None,
) -> UploadedFile:
    """Upload a file, or what an upload in parts still lacks."""
    content = await api.transport.on_disk(lambda: FileContent.opened(file))
    try:
        name = order.name or content.name
        sending = FileUpload(api, content, UploadProgress(content.size, progress or bar_for(name, content.size)))
        return await (sending.begin(order, began) if resume is None else sending.resume(resume))
    finally:
        content.close()


class FileUpload:
    """One upload."""

    def __init__(self, api: HttpApi, content: FileContent, progress: UploadProgress) -> None:
        self._api = api
        self._content = content
        self._progress = progress

    async def begin(self, order: UploadOrder, began: Callable[[int], None] | None) -> UploadedFile:
        """Upload a file."""
        plan = await self._api.ask(_Plan, "POST", "/v1/uploads", order.message(self._content))
        content_type = order.content_type_of(self._content)
        if plan.multipart is not None:
            if began is not None:
                began(plan.multipart.id)
            return await self.resume(plan.multipart.id, content_type)
        if plan.put is None:
            raise NotReachable("The control plane offers no upload that is known here: install its version of yurt.")
        etag = await self._put_whole(plan.put, made_key=not order.key)
        return UploadedFile(plan.pipeline, plan.key, self._content.size, content_type, etag)

    async def resume(self, upload_id: int, content_type: str | None = None) -> UploadedFile:
        """Go on with an upload in parts, from where it was left."""
        try:
            return await self._carry_on(upload_id, content_type)
        except NotReachable as error:
            if isinstance(error, Refused) and error.code in _ENDED:
                raise
            raise UploadInterrupted(
                f"The upload was interrupted: {error} Go on with resume={upload_id}, within 6 days.", upload_id
            ) from None

    async def _put_whole(self, put: _Put, made_key: bool) -> str | None:
        sent = await self._api.put(put.url, put.headers, self._body(_WHOLE, 0, self._content.size), self._content.size)
        answer = sent.answer
        if answer.status == 412:
            # A key that was made for this upload was taken by an earlier try of it, whose answer was lost.
            if made_key and sent.tries > 1:
                return None
            raise KeyTaken("An object of this key is there: take another key, or set replace=True.", 412, "key-taken")
        return _etag(answer)

    async def _carry_on(self, upload_id: int, content_type: str | None) -> UploadedFile:
        for left in range(_ROUNDS - 1, -1, -1):
            state = await self._api.ask(_PartsState, "GET", f"/v1/uploads/{upload_id}")
            if state.size != self._content.size:
                raise ValueError(
                    f"upload {upload_id} is of {state.size:,} bytes, and this file has {self._content.size:,}"
                )
            await self._send_missing(state)
            try:
                path = f"/v1/uploads/{upload_id}/complete"
                done = await self._api.ask(_Completed, "POST", path, read_seconds=_COMPLETE_SECONDS)
            except Refused as error:
                if error.code != "parts-missing" or not left:
                    raise
            else:
                return UploadedFile(state.pipeline, state.key, state.size, content_type, done.etag.strip('"'))
        raise AssertionError

    async def _send_missing(self, state: _PartsState) -> None:
        missing = state.missing()
        for number in set(range(1, state.parts + 1)) - set(missing):
            self._progress.note(number, state.size_of(number))
        jobs: Iterator[Job] = (partial(self._send_part, state, number) for number in missing)
        await self._api.transport.side_by_side(jobs, _PARTS_AT_ONCE)

    async def _send_part(self, state: _PartsState, number: int) -> None:
        # A URL of its own, just before it is used: it does not expire, however long the parts before it have taken.
        path = f"/v1/uploads/{state.id}/parts"
        [part] = (await self._api.ask(_PartUrls, "POST", path, {"numbers": [number]})).parts
        size = state.size_of(number)
        body = self._body(number, (number - 1) * state.part_bytes, size)
        _etag((await self._api.put(part.url, {}, body, size)).answer)

    def _body(self, number: int, offset: int, size: int) -> Body:
        """The bytes of a part, read while they are sent."""

        async def chunks() -> AsyncIterator[bytes]:
            self._progress.note(number, 0)
            for sent in range(0, size, _CHUNK_BYTES):
                length = min(_CHUNK_BYTES, size - sent)
                yield await self._api.transport.on_disk(partial(self._content.read, offset + sent, length))
                self._progress.note(number, sent + length)

        return chunks


def _etag(answer: HttpAnswer) -> str | None:
    if not answer.ok:
        raise store_refusal("refused an upload", answer)
    return answer.headers.get("etag", "").strip('"') or None
