"""Uploads photos with plain boto3, several at once, as an app does."""

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
"""Longest wait for the signal at which an object is overwritten."""


class UploadError(Exception):
    """The bucket did not take an object."""


@dataclass(slots=True)
class CompletedUploads:
    """How many PUTs the bucket has answered so far, and when."""

    puts: int = 0
    answered_at: dict[str, float] = field(default_factory=dict)
    """When the last PUT of a key was answered: seconds since the epoch, by key."""


@dataclass(frozen=True, slots=True)
class PipelineSignals:
    """How far the pipeline is. Set by the code that watches it, waited for by the uploads."""

    leased: threading.Event = field(default_factory=threading.Event)
    """A worker has leased an object."""
    published: threading.Event = field(default_factory=threading.Event)
    """An object has a result."""

    def before_each_content(self) -> tuple[threading.Event | None, ...]:
        """The signal that each content of one key waits for.

        The first and the second wait for none, so that the object is overwritten while it still waits for a worker;
        the third waits until a worker has a lease, the fourth until there are results.
        """
        return None, None, self.leased, self.published


class Uploads:
    """PUTs on several threads. The contents of one key are uploaded one after the other."""

    def __init__(self, s3: Any, bucket: str, objects: Mapping[str, SamplePhoto], signals: PipelineSignals) -> None:
        self.completed = CompletedUploads()
        self._s3 = s3
        self._bucket = bucket
        self._signals = signals
        self._closing = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")
        self._futures: Sequence[Future[None]] = [
            self._pool.submit(self._upload, key, photo) for key, photo in objects.items()
        ]

    @property
    def finished(self) -> bool:
        """Whether every PUT was answered. Raises UploadError if a PUT failed."""
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
        contents, signals = [*photo.earlier, photo.content], self._signals.before_each_content()
        for content, signal in zip(contents, signals, strict=False):
            if not self._wait_for(signal):
                return
            self._put(key, content, photo.content_type)

    def _wait_for(self, signal: threading.Event | None) -> bool:
        """Wait for the signal, but not longer than 8 s. False: the uploads were closed meanwhile."""
        deadline = time.monotonic() + _IN_FLIGHT_SECONDS
        while signal and not self._closing and not signal.wait(0.05) and time.monotonic() < deadline:
            continue
        return not self._closing

    def _put(self, key: str, content: bytes, content_type: str) -> None:
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, ClientError) as error:
            raise UploadError(f"the bucket did not take {key}: {error}") from error
        with self._lock:
            self.completed.puts += 1
            self.completed.answered_at[key] = time.time()


@contextmanager
def uploading(s3: Any, bucket: str, objects: Mapping[str, SamplePhoto], signals: PipelineSignals) -> Iterator[Uploads]:
    """Upload every photo under its key for the length of the ``with`` block."""
    uploads = Uploads(s3, bucket, objects, signals)
    try:
        yield uploads
    finally:
        uploads.close()
