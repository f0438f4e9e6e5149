"""Has the bundles of an agent's leases on its disk: fetches code, installs requirements, holds what is in use.

Both lie in the cache of models, each in a folder named by its content, and leave it as models do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from workers.bundles.download import fetch_bundle
from workers.bundles.installing import environment_root, install
from workers.client import ControlPlaneClient, ControlPlaneFault, Unauthorized
from workers.models.cache import HeldModel, ModelCache
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.protocol import BundleSource
from workers.retry import Backoff

_log = structlog.get_logger()

_AT_ONCE = 2
_ASK_ATTEMPTS = 6
_STOP_SECONDS = 0.1
CODE, REQUIREMENTS = "code", "requirements.txt"
"""What a bundle holds."""


class WorkerBundles:
    """The bundles of one agent. Use on one event loop, close with ``aclose``."""

    def __init__(self, cache: ModelCache, client: ControlPlaneClient) -> None:
        self._cache = cache
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bundle")
        self._stop = threading.Event()
        self._making: dict[str, asyncio.Task[None]] = {}
        """By root: all leases that need a folder wait for the same task."""

    async def aclose(self) -> None:
        """Stop what is being fetched or installed."""
        self._stop.set()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        self._threads.shutdown(wait=False)

    @asynccontextmanager
    async def held(self, root: str) -> AsyncIterator[tuple[Path, ...]]:
        """Have a bundle on the disk for as long as the block runs; give the folders that Python imports it from.

        Raises:
            ModelUnavailable: code or requirements cannot be had.
            Unauthorized: the control plane has revoked this worker.
            WorkerFault, OSError: the disk is too small, or fails.

        """
        with ExitStack() as stack:
            bundle = await self._hold(root, partial(self._fetch, root))
            stack.callback(bundle.close)
            folders = [bundle.path / CODE]
            requirements = bundle.path / REQUIREMENTS
            if requirements.is_file():
                own = environment_root(requirements.read_bytes())
                environment = await self._hold(own, partial(self._install, own, requirements))
                stack.callback(environment.close)
                folders.append(environment.path)
            yield tuple(folders)

    async def _hold(self, root: str, make: Callable[[], None]) -> HeldModel:
        while (held := self._cache.hold(root)) is None:
            if self._stop.is_set():
                raise ModelUnavailable("This worker is about to leave.")
            if root not in self._making:
                task = asyncio.create_task(self._run(root, make))
                self._making[root] = task
                task.add_done_callback(partial(self._made, root))
            await asyncio.shield(self._making[root])
        return held

    async def _run(self, root: str, make: Callable[[], None]) -> None:
        try:
            await self._loop.run_in_executor(self._threads, self._make, root, make)
        except DownloadCancelled:
            raise ModelUnavailable("This worker is about to leave.") from None

    def _made(self, root: str, task: asyncio.Task[None]) -> None:
        del self._making[root]
        if not task.cancelled():
            task.exception()  # every lease that waited for it may be gone

    def _make(self, root: str, make: Callable[[], None]) -> None:
        with self._cache.writing(root, self._stop):
            if not self._cache.is_whole(root):
                begun = time.monotonic()
                make()
                _log.info("bundle-ready", root=root, seconds=round(time.monotonic() - begun, 3))

    def _fetch(self, root: str) -> None:
        source = self._source(root)
        # Twice: the archive, and what is unpacked of it.
        folder = self._cache.begin("bundle of a function", root, 2 * source.size, self._stop)
        fetch_bundle(folder, lambda: self._source(root), self._stop)
        self._cache.finish("bundle of a function", root, self._stop)

    def _install(self, root: str, requirements: Path) -> None:
        folder = self._cache.begin("requirements of a function", root, 0, self._stop)
        install(requirements, folder, self._stop)
        self._cache.finish("requirements of a function", root, self._stop)

    def _source(self, root: str) -> BundleSource:
        """Ask the control plane, from the thread of a download."""
        asked = asyncio.run_coroutine_threadsafe(self._ask(root), self._loop)
        while True:
            try:
                return asked.result(_STOP_SECONDS)
            except TimeoutError:
                if self._stop.is_set():
                    asked.cancel()
                    raise DownloadCancelled from None

    async def _ask(self, root: str) -> BundleSource:
        try:
            source: BundleSource = await Backoff(attempts=_ASK_ATTEMPTS).retrying()(self._client.bundle, root)
        except Unauthorized:
            raise
        except ControlPlaneFault as fault:
            raise ModelUnavailable(f"The bundle of the function cannot be fetched: {fault.message}") from fault
        if source.root != root:
            raise ModelUnavailable("The control plane gave the source of another bundle.")
        return source
