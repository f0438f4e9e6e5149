"""Uploads with plain boto3, several at once, as an app does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.demo.photos import SamplePhoto

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

    def of_contents(self) -> tuple[threading.Event | None, ...]:
        """What each content of one key waits for: the first and second for nothing, so that the object is overwritten
        while it still waits for a worker; the third until workers are at work; the fourth until there are results.
        """
        return None, None, self.leased, self.published


class Uploads:
    """PUTs under way. One key's contents go up one after the other."""

    def __init__(self, s3: Any, bucket: str, objects: Mapping[str, SamplePhoto], moments: Moments) -> None:
        self.answered = Answered()
        self._s3 = s3
        self._bucket = bucket
        self._moments = moments
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

    def _upload(self, key: str, photo: SamplePhoto) -> None:
        for content, moment in zip([*photo.earlier, photo.content], self._moments.of_contents(), strict=False):
            if not self._reached(moment):
                return
            self._put(key, content, photo.content_type)

    def _reached(self, moment: threading.Event | None) -> bool:
        """Wait for it, if there is one, but not for ever. False: it is too late for any."""
        deadline = time.monotonic() + _IN_FLIGHT_SECONDS
        while moment and not self._closing and not moment.wait(0.05) and time.monotonic() < deadline:
            continue
        return not self._closing

    def _put(self, key: str, content: bytes, content_type: str) -> None:
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, ClientError) as error:
            raise UploadError(f"the bucket did not take {key}: {error}") from error
        with self._lock:
            self.answered.puts += 1
            self.answered.at[key] = time.time()


@contextmanager
def uploading(s3: Any, bucket: str, objects: Mapping[str, SamplePhoto], moments: Moments) -> Iterator[Uploads]:
    """Upload every photo under its key for the length of the ``with`` block."""
    uploads = Uploads(s3, bucket, objects, moments)
    try:
        yield uploads
    finally:
        uploads.close()
