"""Uploads with plain boto3, several at once, as an app does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.demo.photos import Photo
from infra.stop import Interrupted, Stop

_THREADS = 4
_IN_FLIGHT_SECONDS = 8.0
"""Longest wait for the moment at which to overwrite."""


class UploadError(Exception):
    """The bucket did not take an object."""


@dataclass(slots=True)
class Answered:
    """What the bucket has taken so far."""

    puts: int = 0
    at: dict[str, float] = field(default_factory=dict)
    """When the last PUT of each key was answered: seconds since the epoch, by key."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What has been seen of the pipeline; whoever watches it sets these."""

    leased: threading.Event = field(default_factory=threading.Event)
    """Workers are at work."""
    published: threading.Event = field(default_factory=threading.Event)
    """There are results."""


class Uploads:
    """PUTs under way. One key's contents go up one after the other."""

    def __init__(self, s3: Any, bucket: str, objects: Mapping[str, Photo], moments: Moments, stop: Stop) -> None:
        self.answered = Answered()
        self._s3 = s3
        self._bucket = bucket
        self._moments = moments
        self._stop = stop
        self._closing = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")
        self._futures: Sequence[Future[None]] = [
            self._pool.submit(self._upload, key, photo) for key, photo in objects.items()
        ]

    @property
    def finished(self) -> bool:
        """Whether every PUT was answered. Raises UploadError if one failed."""
        for future in self._futures:
            if future.done():
                future.result()
        return all(future.done() for future in self._futures)

    def close(self) -> None:
        """Start no more PUTs, and wait for those under way."""
        self._closing = True
        for future in self._futures:
            future.cancel()
        wait(self._futures)
        self._pool.shutdown()

    def _upload(self, key: str, photo: Photo) -> None:
        contents = [*photo.earlier, photo.content]
        for content, moment in zip(contents, self._when(), strict=False):
            try:
                moment()
                self._put(key, content, photo.content_type)
            except Interrupted:
                return

    def _when(self) -> Iterator[Callable[[], None]]:
        """When each content of one key goes up: the first and second at once, while the object still waits for a
        worker; the third when workers are at work; the fourth when the first results are there.
        """
        yield self._check
        yield self._check
        yield lambda: self._await(self._moments.leased)
        yield lambda: self._await(self._moments.published)

    def _await(self, moment: threading.Event) -> None:
        deadline = time.monotonic() + _IN_FLIGHT_SECONDS
        while not moment.wait(0.05) and time.monotonic() < deadline:
            self._check()

    def _check(self) -> None:
        self._stop.check()
        if self._closing:
            raise Interrupted

    def _put(self, key: str, content: bytes, content_type: str) -> None:
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, ClientError) as error:
            raise UploadError(f"the bucket did not take {key}: {error}") from error
        with self._lock:
            self.answered.puts += 1
            self.answered.at[key] = time.time()


@contextmanager
def uploading(s3: Any, bucket: str, objects: Mapping[str, Photo], moments: Moments, stop: Stop) -> Iterator[Uploads]:
    """Upload every photo under its key for the length of the ``with`` block."""
    uploads = Uploads(s3, bucket, objects, moments, stop)
    try:
        yield uploads
    finally:
        uploads.close()
