"""What an agent does with one lease: fetch ▸ handle ▸ publish, and the settlement that comes of it."""

from __future__ import annotations

import asyncio
import enum
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers import manifest
from workers.bench import Bench
from workers.client import ControlPlaneClient
from workers.handlers import HandlerError, Job, Result
from workers.heartbeat import Heartbeat
from workers.manifest import Manifest
from workers.protocol import (
    MANIFEST,
    Absent,
    Done,
    Download,
    Failed,
    Lease,
    Output,
    Settlement,
    Unchanged,
    Version,
)
from workers.publish import Publisher
from workers.scratch import Scratch, discard
from workers.transfer import Nothing, StoreFault, TransferClient, require_space

_REASON = re.compile(r"[a-z0-9-]{1,64}")
_MESSAGE_LENGTH = 4_000
_LOG_LENGTH = 16_000


class Stage(enum.IntEnum):
    """How far a run has come."""

    FETCHING = 1
    FETCHED = 2
    """Waits for a free place."""
    HANDLING = 3
    PUBLISHING = 4


@dataclass(frozen=True, slots=True)
class Tools:
    """What every run of an agent shares."""

    control: ControlPlaneClient
    store: TransferClient
    bench: Bench
    scratch: Scratch


class LeaseTask:
    """One lease at work. ``changed`` is called at each new ``stage``."""

    def __init__(self, lease: Lease, tenure: Heartbeat, tools: Tools, changed: Callable[[], None]) -> None:
        self.lease = lease
        self.tenure = tenure
        self.stage = Stage.FETCHING
        self._tools = tools
        self._changed = changed
        self._seconds: dict[str, float] = {}
        self._known: tuple[Version, list[Output]]

    async def perform(self) -> Settlement:
        """Work, and say what came of it.

        Raises:
            LeaseLost: stop, settle nothing.
            Unauthorized: stop everything.
            Rejected: the control plane does not understand us.
            WorkerFault, OSError: it is this machine's fault, not the object's.
        """
        folder = self._tools.scratch.folder(f"{self.lease.id}-{self.lease.token}")
        try:
            return await self._work(folder)
        except HandlerError as error:
            return failed(self.lease, error.reason, error.message, retry=error.retry, log=error.log)
        except StoreFault as error:
            return failed(self.lease, error.reason, error.message, retry=error.retry)
        finally:
            # Shielded: a lease that is cancelled twice leaves no folder behind either.
            await asyncio.shield(asyncio.to_thread(discard, folder))

    async def _work(self, folder: Path) -> Settlement:
        source = folder / "input"
        with self._timed("fetch"):
            fetched = await self._fetch(source)
        if isinstance(fetched, Nothing):
            return self._nothing(fetched)
        job = self._job(source, folder / "output", fetched)
        result = await self._handle(job)
        self._enter(Stage.PUBLISHING)
        publisher = Publisher(
            self.lease, fetched, tenure=self.tenure, control=self._tools.control, store=self._tools.store
        )
        spent = dict(self._seconds)
        with self._timed("publish"):
            outputs = await publisher.publish(result, job.output, spent, folder)
        return Done(
            id=self.lease.id,
            token=self.lease.token,
            fetched=fetched,
            outputs=outputs,
            seconds=self._seconds,
        )

    async def _fetch(self, path: Path) -> Version | Nothing:
        require_space(path.parent, 0)
        return await self._tools.store.download(
            self.lease.input,
            self.lease.expected,
            path,
            limit_bytes=self.lease.handler.limits.input_bytes,
            known=self._earlier(self.lease.manifest) if self.lease.manifest else None,
        )

    async def _earlier(self, source: Download) -> Version | None:
        """What an earlier result was made from, which the ledger may have forgotten."""
        found = await self._tools.store.read(source, limit_bytes=2 * manifest.MAX_BYTES)
        if found is None:
            return None
        content, etag = found
        try:
            said = Manifest.decode(content)
        except ValueError:
            return None
        lease = self.lease
        if (said.pipeline, said.bucket, said.key) != (lease.pipeline, lease.bucket, lease.key):
            return None
        own = Output(name=MANIFEST, etag=etag, size=len(content), content_type=manifest.CONTENT_TYPE)
        self._known = said.input, [*said.outputs, own]
        return said.input

    def _nothing(self, found: Nothing) -> Settlement:
        """The settlement where there is nothing to handle."""
        id, token = self.lease.id, self.lease.token
        match found:
            case Nothing.ABSENT:
                return Absent(id=id, token=token)
            case Nothing.UNCHANGED:
                return Unchanged(id=id, token=token)
            case Nothing.KNOWN:
                fetched, outputs = self._known
                return Unchanged(id=id, token=token, fetched=fetched, outputs=outputs)

    def _job(self, source: Path, output: Path, fetched: Version) -> Job:
        output.mkdir(mode=0o700)
        return Job(
            input=source,
            output=output,
            key=self.lease.key,
            etag=fetched.etag,
            options=self.lease.handler.options,
        )

    async def _handle(self, job: Job) -> Result:
        self._enter(Stage.FETCHED)
        async with self._tools.bench.place() as sandbox:
            self._enter(Stage.HANDLING)
            with self._timed("handle"):
                return await sandbox.run(self.lease.handler, job)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self._changed()

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started_at = time.monotonic()
        yield
        self._seconds[step] = time.monotonic() - started_at


def failed(lease: Lease, reason: str, message: str, *, retry: bool, log: str = "") -> Failed:
    """A failure as the protocol allows it: a handler may say anything, at any length."""
    return Failed(
        id=lease.id,
        token=lease.token,
        reason=reason if _REASON.fullmatch(reason) else "handler-error",
        message=_clean(message)[:_MESSAGE_LENGTH],
        log=_clean(log)[-_LOG_LENGTH:],
        retry=retry,
    )


def _clean(text: str) -> str:
    """Without lone surrogates, which no JSON in UTF-8 can carry, and NUL, which PostgreSQL does not take."""
    return text.encode(errors="replace").decode().replace("\0", "�")
