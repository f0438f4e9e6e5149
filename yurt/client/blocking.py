"""`Client`: Yurt for apps whose code blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from yurt.blocking_transport import BlockingTransport, iterate_blocking, run_blocking
from yurt.client import objects, outputs, uploads
from yurt.client.answers import Event, ObjectInfo, UploadedFile, UploadTicket
from yurt.client.events import EventStream
from yurt.client.file_content import FileOrPath
from yurt.client.outputs import DOWNLOAD_BYTES, READ_BYTES
from yurt.client.progress import Progress
from yurt.client.uploads import UploadOrder
from yurt.http_api import RETRY_SECONDS, HttpApi, PlaneAccess


class Client:
    """Uploads files, hands out tickets, waits for results and reads them, listens to events.

    A context manager, and safe to use from many threads. All methods raise `yurt.NotReachable` where the control plane
    or the bucket does not answer, and its subclass `yurt.Refused` where it says no.
    """

    def __init__(self, url: str = "", token: str = "", *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Connect to a control plane, at the first call.

        Args:
            url: Of the control plane; by default ``YURT_URL``.
            token: Of the app, or a ticket; by default ``YURT_TOKEN``.
            retry_seconds: Pauses in all between the tries of a request while the control plane or bucket is away.

        Raises `yurt.NotReachable` where URL or token are missing.

        """
        access = PlaneAccess.of(url, token, "upload:PIPELINE or read:PIPELINE", retry_seconds)
        self._transport = BlockingTransport()
        self._api = HttpApi(self._transport, access)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        run_blocking(self._transport.close())

    def upload(
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
        """Upload a file: small ones by one PUT, from 32 MiB on in parts side by side. Scope ``upload:PIPELINE``.

        Args:
            file: Its path, or a file open for reading bytes, which is uploaded whole and stays open.
            pipeline: Whose input it goes to. A ticket knows its own.
            prefix: Of the key that is made, below the pipeline's own prefix.
            key: The whole key, in place of one that is made.
            name: The last part of the key is made of it; by default the file's own.
            content_type: By default what the suffix of name or key says.
            replace: With ``key``: whether an object that is there is replaced.
            resume: Number of an upload in parts of the same file: only what is missing is sent.
            began: Called with that number when an upload in parts begins: keep it, to resume after a crash.
            progress: Called with the bytes sent and all there are. Without it, a long upload draws a bar where
                standard error is a terminal.

        Raises:
            KeyTaken: an object of that key is there.
            UploadInterrupted: an upload in parts did not end, and holds its number.
            OSError, TypeError, ValueError: the file cannot be read, or is another one than the one to resume.

        """
        order = UploadOrder(pipeline, prefix, key, name, content_type, replace)
        return run_blocking(uploads.upload(self._api, file, order, resume, began, progress))

    def ticket(
        self,
        pipeline: str,
        *,
        prefix: str = "",
        content_types: Sequence[str] = ("*/*",),
        max_bytes: int | None = None,
        uploads: int = 1,
        valid_seconds: float = 3_600,
    ) -> UploadTicket:
        """Make a ticket with which a browser uploads. The token needs the scope ``upload:PIPELINE``.

        Args:
            pipeline: Whose input the files go to.
            prefix: Of the keys, below the pipeline's own prefix: ``users/42``.
            content_types: That are allowed; ``image/*`` for all of a kind.
            max_bytes: Of one file; by default what the pipeline's handler takes.
            uploads: How many uploads may be begun with it.
            valid_seconds: How long uploads may be begun, up to 7 days.

        """
        return run_blocking(
            objects.ticket(self._api, pipeline, prefix, content_types, max_bytes, uploads, valid_seconds)
        )

    def object(self, pipeline: str, key: str, *, wait_seconds: float = 0) -> ObjectInfo:
        """Read one object: its state, its result with URLs, or why it failed.

        ``wait_seconds``, up to 60, holds the answer until it is settled. Raises `yurt.ObjectUnknown` where no event of
        it has come yet.
        """
        return run_blocking(objects.read_object(self._api, pipeline, key, wait_seconds))

    def wait(self, pipeline: str, key: str, *, timeout_seconds: float = 600) -> ObjectInfo:
        """Wait until an object is settled: its ``outcome`` is done, refused, parked, gone or forgotten.

        An object of which no event has come yet is waited for too. Raises `yurt.WaitTimeout`.
        """
        return run_blocking(objects.wait(self._api, pipeline, key, timeout_seconds))

    def delete(self, pipeline: str, key: str) -> None:
        """Delete an object from a pipeline's input. The token needs the scope ``delete:PIPELINE``.

        Its results follow as ``on_delete`` of the pipeline says. Does nothing where it is missing. Raises
        `yurt.Refused` for a key that the pipeline does not watch, or where it was replaced at that moment.
        """
        run_blocking(objects.delete(self._api, pipeline, key))

    def objects(self, pipeline: str, *, prefix: str = "") -> Iterator[ObjectInfo]:
        """Iterate over the objects of a pipeline whose keys begin with ``prefix``, by key.

        Labels and verdicts are left out, and sizes and types of files.
        """
        return iterate_blocking(objects.read_objects(self._api, pipeline, prefix))

    def read_output(self, pipeline: str, key: str, name: str, *, max_bytes: int = READ_BYTES) -> bytes:
        """Read one file of an object's result, such as ``thumb-640.webp``. Raises `yurt.OutputMissing`."""
        return run_blocking(outputs.read_output(self._api, pipeline, key, name, max_bytes))

    def download_output(
        self, pipeline: str, key: str, name: str, path: str | os.PathLike[str], *, max_bytes: int = DOWNLOAD_BYTES
    ) -> Path:
        """Download one file of an object's result to a path, whole or not at all.

        Raises `yurt.OutputMissing` and OSError.
        """
        return run_blocking(outputs.download_output(self._api, pipeline, key, name, path, max_bytes))

    def events(
        self, *, pipelines: Collection[str] = (), prefix: str = "", last_event_id: int | None = None
    ) -> Generator[Event, None, None]:
        """Iterate over what becomes of objects, from now on and without an end, across lost connections.

        Args:
            pipelines: By default all that the token may read.
            prefix: Of the keys.
            last_event_id: ``id`` of the last event that is known already: what came after it is told first.

        Yields each event once: `yurt.ObjectSettled`, or `yurt.EventGap` where some are not known any more, which is
        after three days. Raises `yurt.NotReachable` once the control plane was away for ``retry_seconds``.
        """
        return iterate_blocking(EventStream(self._api, pipelines, prefix, last_event_id).events())
