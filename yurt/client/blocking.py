"""`Client`: Yurt for apps whose code blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from yurt.blocking_transport import BlockingTransport, iterate_blocking, run_blocking
from yurt.client import objects
from yurt.client.answers import ObjectInfo, UploadTicket
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
