"""Has the models of an agent's leases on its disk: fetches what is missing, holds what is in use, reports progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from workers.client import ControlPlaneClient, ControlPlaneFault, Unauthorized
from workers.concurrency import all_of
from workers.models.cache import HeldModel, ModelCache
from workers.models.download import DownloadLimits
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.models.fetch import ModelFetch
from workers.protocol import ModelRef, ModelSources, WorkerProgress
from workers.retry import Backoff

_log = structlog.get_logger()

_AT_ONCE = 2
"""Models that are fetched at the same time: each takes as many connections as pay."""
_ASK_ATTEMPTS = 6
_LEAVES = "This worker is about to leave."
_STOP_SECONDS = 0.1
"""After which a thread that waits for the control plane notices that it is to stop."""


def _nothing(model: ModelRef, folder: Path) -> None:
    """Do nothing with a model that was fetched."""


class WorkerModels:
    """The models of one agent. Use on one event loop, close with ``aclose``."""

    def __init__(self, cache: ModelCache, client: ControlPlaneClient, limits: DownloadLimits | None = None) -> None:
        self._cache = cache
        self._client = client
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="model")
        self._closed = False
        self._fetching: dict[str, tuple[ModelFetch, asyncio.Task[None]]] = {}
        """By root: all leases that need a model wait for the same task."""

    async def aclose(self) -> None:
        """Stop what is being fetched, and wait until no thread writes any more. What was fetched is kept."""
        self._closed = True
        tasks = [task for _, task in self._fetching.values()]
        for fetch, _ in self._fetching.values():
            fetch.stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    @asynccontextmanager
    async def held(self, models: Iterable[ModelRef]) -> AsyncIterator[Mapping[str, Path]]:
        """Have these models on the disk for as long as the block runs, and give the folder of each by its name.

        Raises:
            ModelUnavailable: one cannot be had.
            Unauthorized: the control plane has revoked this worker.
            WorkerFault, OSError: the disk is too small, or fails.
        """
        async with AsyncExitStack() as stack:
            held = await all_of(self._hold(model, stack) for model in models)
            yield {name: model.path for name, model in held}

    async def fetch(self, models: Iterable[ModelRef], fetched: Callable[[ModelRef, Path], None] = _nothing) -> None:
        """Have these models on the disk, ahead of the leases that name them. What cannot be had is logged.

        A lease that needs it tries again. ``fetched`` is called with each and its folder as soon as it is there.
        Raises `Unauthorized`.
        """
        await all_of(self._fetch_ahead(model, fetched) for model in models)

    def progress(self) -> WorkerProgress | None:
        """Return how far the model is of which most is missing; None when none is being fetched."""
        fetches = [fetch for fetch, _ in self._fetching.values()]
        if not fetches:
            return None
        fetch = max(fetches, key=lambda each: each.progress.total_bytes - each.progress.done_bytes)
        now = fetch.progress
        return WorkerProgress(
            phase="weights",
            model=fetch.model.name,
            done_bytes=now.done_bytes,
            total_bytes=now.total_bytes,
            bytes_per_second=now.bytes_per_second,
        )

    async def _hold(self, model: ModelRef, stack: AsyncExitStack) -> tuple[str, HeldModel]:
        # Again: between the end of a download and the lock, another worker may have removed it to make room.
        while (held := self._cache.hold(model.root)) is None:
            await self._fetch(model)
        stack.callback(held.close)
        return model.name, held

    async def _fetch_ahead(self, model: ModelRef, fetched: Callable[[ModelRef, Path], None]) -> None:
        begun = time.monotonic()
        try:
            async with self.held([model]) as folders:
                fetched(model, folders[model.name])
                _log.info("model-ready", model=model.name, root=model.root, seconds=round(time.monotonic() - begun, 3))
        except Unauthorized:
            raise
        except Exception as error:
            _log.error("model-unavailable", model=model.name, root=model.root, error=str(error))

    async def _fetch(self, model: ModelRef) -> None:
        """Wait until the model was fetched. The lease that began it may end: others need it too, or soon will."""
        if self._closed:
            raise ModelUnavailable(_LEAVES)
        if model.root not in self._fetching:
            fetch = ModelFetch(self._cache, model, partial(self._sources, model), self._limits)
            task = asyncio.create_task(self._run(fetch))
            self._fetching[model.root] = fetch, task
            task.add_done_callback(partial(self._fetched, model.root))
        await asyncio.shield(self._fetching[model.root][1])

    async def _run(self, fetch: ModelFetch) -> None:
        try:
            await self._loop.run_in_executor(self._threads, fetch.run)
        except DownloadCancelled:
            raise ModelUnavailable(_LEAVES) from None
        finally:
            fetch.stop.set()

    def _fetched(self, root: str, task: asyncio.Task[None]) -> None:
        del self._fetching[root]
        if not task.cancelled():
            task.exception()  # every lease that waited for it may be gone

    def _sources(self, model: ModelRef) -> ModelSources:
        """Ask the control plane, from the thread of a download."""
        fetch, _ = self._fetching[model.root]
        asked = asyncio.run_coroutine_threadsafe(self._ask(model), self._loop)
        while True:
            try:
                return asked.result(_STOP_SECONDS)
            except TimeoutError:
                if fetch.stop.is_set():
                    asked.cancel()
                    raise DownloadCancelled from None

    async def _ask(self, model: ModelRef) -> ModelSources:
        try:
            sources: ModelSources = await Backoff(attempts=_ASK_ATTEMPTS).retrying()(self._client.models, model.root)
            return sources
        except Unauthorized:
            raise
        except ControlPlaneFault as fault:
            raise ModelUnavailable(f"The model {model.name} cannot be fetched: {fault.message}") from fault
