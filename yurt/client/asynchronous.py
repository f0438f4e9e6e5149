"""`AsyncClient`: Yurt for apps on an event loop of asyncio."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from yurt.async_transport import AsyncTransport
from yurt.client import objects, outputs, uploads
from yurt.client.answers import Event, ObjectInfo, UploadedFile, UploadTicket
from yurt.client.events import EventStream
from yurt.client.file_content import FileOrPath
from yurt.client.outputs import DOWNLOAD_BYTES, READ_BYTES
from yurt.client.progress import Progress
from yurt.client.uploads import UploadOrder
from yurt.http_api import RETRY_SECONDS, HttpApi, PlaneAccess


class AsyncClient:
    """Uploads files, hands out tickets, waits for results and reads them, listens to events.

    An asynchronous context manager, to be used on one event loop; all else is as of `yurt.Client`.
    """

    def __init__(self, url: str = "", token: str = "", *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Connect to a control plane, at the first call: see `yurt.Client`."""
        access = PlaneAccess.of(url, token, "upload:PIPELINE or read:PIPELINE", retry_seconds)
        self._transport = AsyncTransport()
        self._api = HttpApi(self._transport, access)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def upload(
        self,
        file: FileOrPath,
        *,
        pipeline: str = "",
        prefix: str = "",
        key: str = "",
        name: str = "",
        content_type: str = "",
        replace: bool = False,
        resume: int | None = None,
        began: Callable[[int], None] | None = None,
        progress: Progress | None = None,
    ) -> UploadedFile:
        """Upload a file, in parts side by side where it is large: see `yurt.Client.upload`."""
        order = UploadOrder(pipeline, prefix, key, name, content_type, replace)
        return await uploads.upload(self._api, file, order, resume, began, progress)

    async def ticket(
        self,
        pipeline: str,
        *,
        prefix: str = "",
        content_types: Sequence[str] = ("*/*",),
        max_bytes: int | None = None,
        uploads: int = 1,
        valid_seconds: float = 3_600,
    ) -> UploadTicket:
        """Make a ticket with which a browser uploads: see `yurt.Client.ticket`."""
        return await objects.ticket(self._api, pipeline, prefix, content_types, max_bytes, uploads, valid_seconds)

    async def object(self, pipeline: str, key: str, *, wait_seconds: float = 0) -> ObjectInfo:
        """Read one object, and wait for it if that is wanted: see `yurt.Client.object`."""
        return await objects.read_object(self._api, pipeline, key, wait_seconds)

    async def wait(self, pipeline: str, key: str, *, timeout_seconds: float = 600) -> ObjectInfo:
        """Wait until an object is settled: see `yurt.Client.wait`."""
        return await objects.wait(self._api, pipeline, key, timeout_seconds)

    async def delete(self, pipeline: str, key: str) -> None:
        """Delete an object from a pipeline's input. The token needs the scope ``delete:PIPELINE``.

        Its results follow as ``on_delete`` of the pipeline says. Does nothing where it is missing. Raises
        `yurt.Refused` for a key that the pipeline does not watch, or where it was replaced at that moment.
        """
        await objects.delete(self._api, pipeline, key)

    def objects(self, pipeline: str, *, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Iterate over the objects of a pipeline, by key: see `yurt.Client.objects`."""
        return objects.read_objects(self._api, pipeline, prefix)

    async def read_output(self, pipeline: str, key: str, name: str, *, max_bytes: int = READ_BYTES) -> bytes:
        """Read one file of an object's result: see `yurt.Client.read_output`."""
        return await outputs.read_output(self._api, pipeline, key, name, max_bytes)

    async def download_output(
        self, pipeline: str, key: str, name: str, path: str | os.PathLike[str], *, max_bytes: int = DOWNLOAD_BYTES
    ) -> Path:
        """Download one file of an object's result to a path: see `yurt.Client.download_output`."""
        return await outputs.download_output(self._api, pipeline, key, name, path, max_bytes)

    def events(
        self, *, pipelines: Collection[str] = (), prefix: str = "", last_event_id: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Iterate over what becomes of objects, across lost connections: see `yurt.Client.events`."""
        return EventStream(self._api, pipelines, prefix, last_event_id).events()
