"""Makes room for a model in the cache: removes those that were used longest ago, never one that is in use.

Says that there is too little before anything is removed or fetched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from workers.disk_space import free_bytes
from workers.models.errors import ModelUnavailable
from workers.models.file_lock import FileLock
from workers.models.plan import DownloadPlan
from workers.sandbox.errors import WorkerFault
from workers.scratch import discard

_log = structlog.get_logger()

_ENTRY = re.compile(r"([0-9a-f]{64})(\.partial)?")
_MOST_OF_THE_DISK = 0.9
"""Of what is free and what models take already, where no limit is set."""
_BLOCK_BYTES = 512
"""Of ``st_blocks``."""


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One model in the cache, whole or not."""

    root: str
    size: int
    """Bytes, with those that are still to be fetched."""
    allocated: int
    """Bytes on the disk."""
    used_at: float
    """When a worker last used it, by the clock."""


class CacheRoom:
    """The models in a cache's folder, as they are now. For the holder of the room's lock."""

    def __init__(self, folder: Path, limit_bytes: int | None) -> None:
        self._folder = folder
        self._models = sorted(_models(folder), key=lambda model: model.used_at)
        self._free = free_bytes(folder)
        taken = self._free + sum(model.allocated for model in self._models)
        self._set_limit = limit_bytes
        self._limit = int(taken * _MOST_OF_THE_DISK) if limit_bytes is None else limit_bytes

    def make(self, name: str, plan: DownloadPlan) -> None:
        """Remove what is in the way of a model of that name.

        Raises `WorkerFault` where the disk is too small, and `ModelUnavailable` where the limit that was set is: then
        nothing is removed.
        """
        with ExitStack() as locks:
            chosen: list[tuple[CachedModel, FileLock]] = []
            for model in self._models:
                if self._lack(plan, chosen) <= 0:
                    break
                if model.root != plan.root and (lock := self._lock(model)):
                    locks.enter_context(lock)
                    chosen.append((model, lock))
            if self._lack(plan, chosen) > 0:
                raise self._too_small(name, plan, [model for model, _ in chosen])
            for model, lock in chosen:
                self._remove(model, lock)

    def _lack(self, plan: DownloadPlan, chosen: Iterable[tuple[CachedModel, FileLock]]) -> int:
        """Bytes that are missing once the chosen models are removed: below the limit, or on the disk."""
        removed = {model.root for model, _ in chosen}
        others = [model for model in self._models if model.root not in {*removed, plan.root}]
        over = sum(model.size for model in others) + plan.size - self._limit if self._limit else 0
        freed = sum(model.allocated for model in self._models if model.root in removed)
        # What others are still to write was promised to them before.
        promised = sum(max(0, model.size - model.allocated) for model in others)
        return max(over, self._still_to_write(plan) + promised - freed - self._free)

    def _still_to_write(self, plan: DownloadPlan) -> int:
        there = sum(model.allocated for model in self._models if model.root == plan.root)
        return max(0, plan.size - there)

    def _too_small(self, name: str, plan: DownloadPlan, removable: Sequence[CachedModel]) -> Exception:
        needs, free = f"The model {name} has {_gb(plan.size)}", _gb(self._free)
        others = _gb(sum(model.size for model in removable))
        if self._set_limit and plan.size + self._in_use(plan, removable) > self._set_limit:
            used = _gb(self._in_use(plan, removable))
            limit = _gb(self._set_limit)
            return ModelUnavailable(
                f"{needs}, and {used} of others are in use: YURT_CACHE_BYTES allows {limit}. Raise it on this worker."
            )
        return WorkerFault(
            f"{needs}, of which {_gb(self._still_to_write(plan))} are to be fetched, but the disk of {self._folder} "
            f"has {free} free and {others} of models that are not in use. Use a larger disk, or set YURT_CACHE_DIR."
        )

    def _in_use(self, plan: DownloadPlan, removable: Sequence[CachedModel]) -> int:
        apart = {plan.root, *(model.root for model in removable)}
        return sum(model.size for model in self._models if model.root not in apart)

    def _lock(self, model: CachedModel) -> FileLock | None:
        return FileLock.take(self._folder / f"{model.root}.lock", shared=False)

    def _remove(self, model: CachedModel, lock: FileLock) -> None:
        """Remove a model. Once its name is gone it counts as one that is not whole, at whichever moment this ends."""
        whole, partial = self._folder / model.root, self._folder / f"{model.root}.partial"
        if whole.exists():
            discard(partial)
            whole.rename(partial)
        # Before its files, and after its name: neither parts nor a model that are not there may be believed.
        (self._folder / f"{model.root}.journal").unlink(missing_ok=True)
        discard(partial)
        lock.remove()
        _log.info("model-removed", root=model.root, bytes=model.allocated)


def _models(folder: Path) -> list[CachedModel]:
    found: dict[str, list[int]] = {}
    for entry in os.scandir(folder):
        if (match := _ENTRY.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False):
            sums = found.setdefault(match[1], [0, 0])
            for size, allocated in _files(entry.path):
                sums[0] += size
                sums[1] += allocated
    return [CachedModel(root, sums[0], sums[1], _used_at(folder / f"{root}.lock")) for root, sums in found.items()]


def _files(folder: str) -> Iterable[tuple[int, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(f"{parent}/{name}")
            except FileNotFoundError:
                continue
            yield status.st_size, status.st_blocks * _BLOCK_BYTES


def _used_at(lock: Path) -> float:
    try:
        return lock.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
