"""Brings one version of a model into the cache: the steps of one thread, from the lock to the folder's name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from workers.models.cache import ModelCache
from workers.models.connection import StoreConnection, StoreRefusal
from workers.models.download import DownloadLimits, DownloadProgress, ModelDownload
from workers.models.errors import ModelUnavailable
from workers.models.manifest import MAX_BYTES, PART_BYTES, root_of
from workers.models.part_request import fetch_small
from workers.models.plan import DownloadPlan, plan_of
from workers.models.source_urls import SourceUrls
from workers.protocol import Download, ModelRef, ModelSources

_log = structlog.get_logger()


class ModelFetch:
    """One attempt to have a model in the cache. ``run`` belongs into a thread of its own."""

    def __init__(
        self,
        cache: ModelCache,
        model: ModelRef,
        sources: Callable[[], ModelSources],
        limits: DownloadLimits | None = None,
    ) -> None:
        """``sources`` asks the control plane where the model's files are."""
        self.model = model
        self.stop = threading.Event()
        """To be set by another thread, to end it."""
        self.progress = DownloadProgress(0, model.size)
        self._cache = cache
        self._sources = sources
        self._limits = limits or DownloadLimits()

    def run(self) -> None:
        """Return once the model is whole, through this thread or through another worker of this machine.

        Raises:
            DownloadCancelled: it was stopped.
            ModelUnavailable: the model cannot be had; what was fetched is kept.
            WorkerFault, OSError: the disk is too small for it, or fails.
        """
        root = self.model.root
        with self._cache.writing(root, self.stop, self._others_progress):
            if not self._cache.is_whole(root):
                self._fetch()
        self.progress = DownloadProgress(self.model.size, self.model.size)

    def _fetch(self) -> None:
        begun = time.monotonic()
        sources = self._sources()
        plan = self._plan(sources)
        partial = self._cache.partial(plan.root)
        journal = self._cache.reserve(self.model.name, plan, self.stop)
        planned = time.monotonic()
        ModelDownload(plan, SourceUrls(sources, self._sources), partial, journal, self._limits).run(
            self.stop, self._report
        )
        self._cache.publish(plan.root)
        _log.info(
            "model-fetched",
            model=self.model.name,
            root=plan.root,
            bytes=plan.size,
            kept_parts=len(journal.noted),
            plan_seconds=round(planned - begun, 3),
            fetch_seconds=round(time.monotonic() - planned, 3),
        )

    def _plan(self, sources: ModelSources) -> DownloadPlan:
        manifest = self._manifest(sources.manifest) if sources.manifest else None
        return plan_of(self.model, sources, manifest)

    def _manifest(self, source: Download) -> bytes:
        """The manifest that an earlier download has left, where it is the right one; else the bucket's."""
        kept = self._cache.partial(self.model.root).manifest()
        if kept is not None and root_of(kept) == self.model.root:
            return kept
        for tried in range(1, self._limits.tries + 1):
            try:
                return fetch_small(StoreConnection(self._limits.stall_seconds), source, MAX_BYTES)
            except StoreRefusal as refused:
                if not refused.transient or tried == self._limits.tries:
                    raise ModelUnavailable(f"The model cannot be fetched: {refused.message}.") from None
                self.stop.wait(refused.after_seconds + self._limits.pause_seconds(tried))
        raise AssertionError

    def _report(self, progress: DownloadProgress) -> None:
        self.progress = progress

    def _others_progress(self, parts: int) -> None:
        """Show how far the worker has come that fetches the model for all: in whole parts."""
        self.progress = DownloadProgress(min(parts * PART_BYTES, self.model.size), self.model.size)
