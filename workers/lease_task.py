"""Performs one lease: fetches the input, runs the handler, publishes the outputs, and returns the settlement."""

from __future__ import annotations

import asyncio
import enum
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from workers import manifest
from workers.bundles.worker_bundles import WorkerBundles
from workers.client import ControlPlaneClient
from workers.disk_space import require_space
from workers.handler_gate import HandlerGate
from workers.handlers import HandlerError, HandlerUnavailable, Job
from workers.heartbeat import Heartbeat
from workers.manifest import Manifest, verdict_of
from workers.models.worker_models import WorkerModels
from workers.protocol import (
    MANIFEST,
    Absent,
    Done,
    Download,
    Failed,
    Lease,
    Output,
    Released,
    Settlement,
    Unchanged,
    Version,
)
from workers.publish import Publisher
from workers.sandbox.opened import OpenedResult
from workers.sandbox.pool import Sandbox
from workers.scratch import Scratch, discard
from workers.servers.all_servers import HandlerServers
from workers.servers.references import References
from workers.servers.served_job import served
from workers.services.worker_services import WorkerServices
from workers.slot_time import LeaseShare
from workers.transfer import NoDownload, StoreFault, TransferClient
from workers.value_types import LOG_CHARACTERS, VerdictName

_REASON = re.compile(r"[a-z0-9-]{1,64}")
_MESSAGE_LENGTH = 4_000
_UNAVAILABLE_LENGTH = 2_000


class Stage(enum.IntEnum):
    """How far a lease's work has come."""

    FETCHING = 1
    FETCHED = 2
    """Waits for a free slot of the sandbox."""
    HANDLING = 3
    PUBLISHING = 4


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """What all lease tasks of an agent share."""

    client: ControlPlaneClient
    transfer: TransferClient
    sandbox: Sandbox
    scratch: Scratch
    models: WorkerModels
    gate: HandlerGate = field(default_factory=HandlerGate)
    handlers: Path | None = None
    """The folder of the user's handlers."""
    servers: HandlerServers | None = None
    references: References | None = None
    """Both for handlers that are servers."""
    bundles: WorkerBundles | None = None
    """For handlers that are functions."""
    services: WorkerServices | None = None
    """None: this agent serves none."""
    load_seconds: Callable[[], float | None] = lambda: None
    """Says for how long models were loaded into memory up to now; None: none was."""


class LeaseTask:
    """The work on one lease. ``changed`` is called at each new ``stage``."""

    def __init__(
        self,
        lease: Lease,
        heartbeat: Heartbeat,
        resources: WorkerResources,
        share: LeaseShare,
        changed: Callable[[], None],
    ) -> None:
        self.lease = lease
        self.stage = Stage.FETCHING
        self._heartbeat = heartbeat
        self._resources = resources
        self._share = share
        self._changed = changed
        self._seconds: dict[str, float] = {}
        self._log = ""
        """What the handler printed."""
        self._earlier_result: tuple[Version, list[Output], VerdictName | None]

    async def run(self) -> Settlement:
        """Do the work under the lease, and return its settlement.

        Ends when it is cancelled, and leaves nothing in the scratch folder.

        Raises:
            LeaseLost: stop, settle nothing.
            Unauthorized: stop everything.
            Rejected: the control plane did not understand a request.
            WorkerFault, OSError: this machine is to blame, not the object.
        """
        folder = self._resources.scratch.folder(f"{self.lease.id}-{self.lease.token}")
        try:
            await self._begin()
            return await self._perform(folder)
        except HandlerError as error:
            return failed(self.lease, error.reason, error.message, retry=error.retry, log=error.log)
        except HandlerUnavailable as error:
            why = _clean(str(error))[:_UNAVAILABLE_LENGTH] or "unknown"
            return Released(id=self.lease.id, token=self.lease.token, cause="handler", unavailable=why)
        except StoreFault as error:
            return failed(self.lease, error.reason, error.message, retry=error.retry, log=self._log)
        finally:
            # Shielded: a task that is cancelled twice leaves no folder behind either.
            await asyncio.shield(asyncio.to_thread(discard, folder))

    async def _begin(self) -> None:
        await self._resources.gate.begin(self.lease.token, trial=self.lease.trial)
        if self.lease.trial:
            # Before it can end this worker the control plane has to know that it is alone.
            await self._heartbeat.beat()

    async def _perform(self, folder: Path) -> Settlement:
        source = folder / "input"
        with self._timed("fetch"):
            fetched = await self._fetch(source)
        if isinstance(fetched, NoDownload):
            return self._without_work(fetched)
        async with self._models() as models, self._imports() as imports:
            job = self._job(source, folder / "output", fetched, models, imports)
            with await self._handle(job) as result:
                self._enter(Stage.PUBLISHING)
                outputs = await self._publish(result, fetched)
        return Done(
            id=self.lease.id,
            token=self.lease.token,
            fetched=fetched,
            outputs=outputs,
            verdict=verdict_of(result.labels),
            seconds=self._seconds,
            log=_clean(self._log)[-LOG_CHARACTERS:],
        )

    async def _fetch(self, path: Path) -> Version | NoDownload:
        # Before the request: a machine whose disk is full should cost the store nothing.
        require_space(path.parent, 0)
        return await self._resources.transfer.download(
            self.lease.input,
            self.lease.expected,
            path,
            limit_bytes=self.lease.handler.limits.input_bytes,
            earlier=self.earlier_version(self.lease.manifest) if self.lease.manifest else None,
        )

    async def earlier_version(self, source: Download) -> Version | None:
        """Return the input version of an earlier result, which its manifest names and the ledger may have forgotten.

        None when there is no manifest, or none of this object that can be read: then the object is handled again.
        """
        stored = await self._resources.transfer.read(source, limit_bytes=2 * manifest.MAX_BYTES)
        if stored is None:
            return None
        content, etag = stored
        try:
            record = Manifest.decode(content)
        except ValueError:
            return None
        lease = self.lease
        if (record.pipeline, record.bucket, record.key) != (lease.pipeline, lease.bucket, lease.key):
            return None
        own = Output(name=MANIFEST, etag=etag, size=len(content), content_type=manifest.CONTENT_TYPE)
        self._earlier_result = record.input, [*record.outputs, own], verdict_of(record.labels)
        return record.input

    def _without_work(self, reason: NoDownload) -> Settlement:
        """The settlement where there is nothing to handle."""
        id, token = self.lease.id, self.lease.token
        match reason:
            case NoDownload.ABSENT:
                return Absent(id=id, token=token)
            case NoDownload.UNCHANGED:
                return Unchanged(id=id, token=token)
            case NoDownload.IN_MANIFEST:
                # The ledger has forgotten the result: it learns the version and the outputs again.
                fetched, outputs, verdict = self._earlier_result
                return Unchanged(id=id, token=token, fetched=fetched, outputs=outputs, verdict=verdict)

    @asynccontextmanager
    async def _models(self) -> AsyncIterator[Mapping[str, Path]]:
        """Hold the models that the lease names, in just its versions: they stay until the job has ended."""
        if not self.lease.models:
            yield {}
            return
        async with AsyncExitStack() as stack:
            with self._timed("weights"):
                models = await stack.enter_async_context(self._resources.models.held(self.lease.models))
            yield models

    @asynccontextmanager
    async def _imports(self) -> AsyncIterator[tuple[Path, ...]]:
        """Hold the bundle of a function that the lease names, and what it requires."""
        root = self.lease.handler.options.get("bundle") if self.lease.handler.kind == "function" else None
        if not isinstance(root, str) or self._resources.bundles is None:
            yield ()
            return
        async with AsyncExitStack() as stack:
            with self._timed("bundle"):
                imports = await stack.enter_async_context(self._resources.bundles.held(root))
            yield imports

    def _job(
        self, source: Path, output: Path, fetched: Version, models: Mapping[str, Path], imports: tuple[Path, ...]
    ) -> Job:
        output.mkdir(mode=0o700)
        return Job(
            input=source,
            output=output,
            key=self.lease.key,
            etag=fetched.etag,
            options=self.lease.handler.options,
            models=models,
            imports=imports,
            model_roots={model.name: model.root for model in self.lease.models},
        )

    async def _handle(self, job: Job) -> OpenedResult:
        self._enter(Stage.FETCHED)
        async with self._resources.sandbox.child(job.imports) as child, self._served(job) as given:
            self._enter(Stage.HANDLING)
            with self._resources.gate.in_handler(self.lease.token), self._timed("handle"):
                result = await child.run(self.lease.handler, given)
            self._log = await child.printed()
            return result

    def _served(self, job: Job) -> AbstractAsyncContextManager[Job]:
        resources = self._resources
        if resources.servers is None or resources.references is None:
            return nullcontext(job)
        return served(self.lease.handler, job, resources.servers, resources.references)

    async def _publish(self, result: OpenedResult, fetched: Version) -> list[Output]:
        publisher = Publisher(
            self.lease,
            fetched,
            heartbeat=self._heartbeat,
            client=self._resources.client,
            transfer=self._resources.transfer,
            share=self._share,
        )
        earlier_steps = dict(self._seconds)
        with self._timed("publish"):
            return await publisher.publish(result, earlier_steps)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self._changed()

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started_at = time.monotonic()
        yield
        self._seconds[step] = time.monotonic() - started_at


def failed(lease: Lease, reason: str, message: str, *, retry: bool, log: str = "") -> Failed:
    """Return a failure that the protocol allows: a handler chooses its texts freely, at any length."""
    return Failed(
        id=lease.id,
        token=lease.token,
        reason=reason if _REASON.fullmatch(reason) else "handler-error",
        message=_clean(message)[:_MESSAGE_LENGTH],
        log=_clean(log)[-LOG_CHARACTERS:],
        retry=retry,
    )


def _clean(text: str) -> str:
    """Without lone surrogates, which no JSON in UTF-8 can carry, and NUL, which PostgreSQL does not take."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
