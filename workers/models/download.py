"""Downloads a model: ranges over several connections at once, straight into place, each checked and noted alone.

A part that is wrong or cut off is fetched again, not the file; what was noted is not fetched again by a later download
either. Each connection has a thread and a buffer of 1 MiB: reading, writing and hashing let go of Python's lock.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from workers.models.connection import StoreConnection, StoreRefusal
from workers.models.connection_growth import ConnectionGrowth
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.models.journal import PartJournal
from workers.models.part_request import fetch_part
from workers.models.partial import PartialFolder
from workers.models.plan import DownloadPlan, PlannedPart
from workers.models.source_urls import SourceUrls

BUFFER_BYTES = 1 << 20
_MEASURED_SECONDS = 0.5
_WATCH_SECONDS = 0.1
_ANEW = ": publish the model anew"
_ADVICE = {403: ": may the control plane's key read it?", 404: _ANEW, 416: _ANEW}
"""By the status that a store gave in the end."""


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """How long a part may take, and how often it is fetched."""

    stall_seconds: float = 20.0
    """Without a single byte."""
    part_seconds: float = 60.0
    """For one part; added to it is the time that its bytes take at the lowest rate."""
    lowest_bytes_per_second: float = 32 << 10
    tries: int = 5
    first_seconds: float = 0.5
    """Longest pause after the first failure; doubles with each."""
    longest_seconds: float = 10.0

    def seconds(self, part: PlannedPart) -> float:
        """Time limit for one part."""
        return self.part_seconds + part.size / self.lowest_bytes_per_second

    def pause_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures: drawn at random, so that not all come back together."""
        return random.uniform(0, min(self.first_seconds * 2 ** (failures - 1), self.longest_seconds))  # noqa: S311


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a download has come."""

    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: int = 0


class _PartThread:
    """One connection, and the part that it fetches now."""

    def __init__(self, download: ModelDownload) -> None:
        self._download = download
        self._connection = StoreConnection(download.limits.stall_seconds)
        self._buffer = memoryview(b"")
        self.received = 0
        """Bytes of the present part."""
        self._ends_at = float("inf")
        self.thread = threading.Thread(target=self._run, name="weights", daemon=True)
        self.thread.start()

    def watch(self) -> None:
        """End a request that takes too long, or that is not wanted any more: a read has a limit only without bytes."""
        if self._download.ended.is_set() or time.monotonic() > self._ends_at:
            self._connection.abort()

    def _run(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        try:
            while (part := self._download.next_part()) is not None:
                self._fetch(part)
        except BaseException as error:
            self._download.fail(error)
        finally:
            self._connection.close()
            self._buffer = memoryview(b"")

    def _fetch(self, part: PlannedPart) -> None:
        for tried in range(1, self._download.limits.tries + 1):
            try:
                digest = self._request(part)
                if part.sha256 not in ("", digest):
                    raise StoreRefusal(f"it has other bytes than its manifest says{_ANEW}", transient=True)
                self._download.note(part, digest)
                return
            except StoreRefusal as refused:
                self._download.pause_after(part, refused, tried)
            finally:
                self.received = 0

    def _request(self, part: PlannedPart) -> str:
        source = self._download.urls.of(part.path)
        self._ends_at = time.monotonic() + self._download.limits.seconds(part)
        file = self._download.folder.open(part.path)
        try:
            return fetch_part(self._connection, source, part, file, self._buffer, self._count)
        except StoreRefusal as refused:
            if refused.status == 403:
                self._download.urls.renew(source)
            raise
        finally:
            os.close(file)
            self._ends_at = float("inf")

    def _count(self, size: int) -> None:
        if self._download.ended.is_set():
            raise DownloadCancelled
        self.received += size


class ModelDownload:
    """One download, from its first missing part to its last. Use once, by one thread."""

    def __init__(
        self,
        plan: DownloadPlan,
        urls: SourceUrls,
        folder: PartialFolder,
        journal: PartJournal,
        limits: DownloadLimits | None = None,
    ) -> None:
        self.urls = urls
        self.folder = folder
        self.limits = limits or DownloadLimits()
        self.ended = threading.Event()
        """Set when no thread may write any more."""
        self._woken = threading.Event()
        """Set when the last part was noted, or none will be any more."""
        self._plan = plan
        self._journal = journal
        self._waiting: deque[PlannedPart] = deque()
        self._lock = threading.Lock()
        self._left = 0
        """Parts that were not noted yet."""
        self._done_bytes = 0
        self._growth = ConnectionGrowth()
        self._connections = 0
        """That fetch parts, or will once their thread has begun."""
        self._threads: list[_PartThread] = []
        self._error: BaseException | None = None

    def run(self, stop: threading.Event, report: Callable[[DownloadProgress], None] = lambda _: None) -> None:
        """Fetch what is missing. ``report`` is called every half second, from this thread.

        No thread of it is left afterwards, and all that was noted is kept.

        Raises:
            DownloadCancelled: ``stop`` was set.
            ModelUnavailable: a part cannot be had.
            OSError: the disk, or a thread that cannot be started.
        """
        try:
            self._begin(stop)
            self._fetch_all(stop, report)
        finally:
            self.ended.set()
            self._join()
            self._journal.close()
        if self._error is not None:
            raise self._error
        if self._left:
            raise DownloadCancelled
        report(self.progress(0))

    def progress(self, bytes_per_second: float) -> DownloadProgress:
        """Return how far it is."""
        received = self._done_bytes + sum(thread.received for thread in self._threads)
        return DownloadProgress(min(received, self._plan.size), self._plan.size, int(bytes_per_second))

    # ── what the threads call ───────────────────────────────────────────────────────────────────────────────

    def next_part(self) -> PlannedPart | None:
        """Return a part to fetch; None when the caller's connection is to end: there is no more, or too many ask."""
        with self._lock:
            if self._waiting and self._connections <= self._growth.count and not self.ended.is_set():
                return self._waiting.popleft()
            self._connections -= 1
            return None

    def note(self, part: PlannedPart, digest: str) -> None:
        """Note a part that lies in its place with the right bytes."""
        with self._lock:
            if not self.ended.is_set():
                self._journal.note(part.number, digest)
                self._left -= 1
                self._done_bytes += part.size
            if not self._left:
                self._woken.set()

    def fail(self, error: BaseException) -> None:
        """End the download: this part cannot be had."""
        with self._lock:
            if self._error is None and not self.ended.is_set():
                self._error = error
        self.ended.set()
        self._woken.set()

    def pause_after(self, part: PlannedPart, refused: StoreRefusal, tried: int) -> None:
        """Wait before a part is fetched again. Raises `ModelUnavailable` where that cannot help."""
        if not (refused.transient or refused.status == 403) or tried >= self.limits.tries:
            times = f" ({tried} times)" if tried > 1 else ""
            where = f"bytes {part.offset} to {part.offset + part.size} of {part.path}"
            message = f"{refused.message}{_ADVICE.get(refused.status, '')}"
            raise ModelUnavailable(f"The model cannot be fetched{times}, at {where}: {message}.") from None
        if self.ended.wait(refused.after_seconds + self.limits.pause_seconds(tried)):
            raise DownloadCancelled

    # ── the caller's thread ─────────────────────────────────────────────────────────────────────────────────

    def _begin(self, stop: threading.Event) -> None:
        proven = self._journal.noted if self._journal.is_proven else self._proven(stop)
        self._journal.begin(proven)
        missing = [part for part in self._plan.parts if part.number not in proven]
        self._waiting.extend(missing)
        self._left = len(missing)
        self._done_bytes = self._plan.size - sum(part.size for part in missing)

    def _proven(self, stop: threading.Event) -> dict[int, str]:
        """The parts of which the disk holds what was noted before the machine was started anew."""
        proven = {}
        for part in self._plan.parts:
            if stop.is_set():
                raise DownloadCancelled
            noted = self._journal.noted.get(part.number)
            if noted is not None and noted == self.folder.digest(part):
                proven[part.number] = noted
        return proven

    def _fetch_all(self, stop: threading.Event, report: Callable[[DownloadProgress], None]) -> None:
        meter = _Meter(self)
        while self._left and not self.ended.is_set() and not stop.is_set():
            self._widen()
            self._woken.wait(_WATCH_SECONDS)
            for thread in self._threads:
                thread.watch()
            if (rate := meter.rate()) is not None:
                self._growth.measured(rate)
                report(self.progress(rate))

    def _widen(self) -> None:
        while self._connections < self._growth.count and self._waiting and not self.ended.is_set():
            with self._lock:
                self._connections += 1
            try:
                self._threads.append(_PartThread(self))
            except RuntimeError as error:
                if not self._threads:
                    raise OSError(errno.EAGAIN, "no thread can be started") from error
                return

    def _join(self) -> None:
        for thread in self._threads:
            thread.watch()
        for thread in self._threads:
            while thread.thread.is_alive():
                thread.thread.join(_WATCH_SECONDS)
                thread.watch()


class _Meter:
    """Measures the throughput, every half second."""

    def __init__(self, download: ModelDownload) -> None:
        self._download = download
        self._at = time.monotonic()
        self._bytes = download.progress(0).done_bytes

    def rate(self) -> float | None:
        """Bytes a second since the last measurement; None where that is not long ago."""
        now = time.monotonic()
        if (seconds := now - self._at) < _MEASURED_SECONDS:
            return None
        done = self._download.progress(0).done_bytes
        rate = max(0.0, (done - self._bytes) / seconds)
        self._at, self._bytes = now, done
        return rate
