"""Keeps models on this machine's disk, for all of its workers: each in a folder that is named by the model's root.

::

    {folder}/                   of this user alone
      {root}/                   a whole model: read-only, with its manifest
      {root}.lock               readers hold it shared, who fetches or removes the model exclusively
      {root}.partial/           a model that is being fetched, or was until its worker was killed
      {root}.journal            its parts on the disk; of a whole model: not all of them have reached the disk yet
      room.lock                 held while room is made

A folder appears by rename, whole. What it holds was checked when it was fetched and is named by its content, so nothing
is validated again. Killing a worker at any moment leaves what the next one goes on with.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.models.errors import ModelUnavailable
from workers.models.file_lock import FileLock
from workers.models.journal import PartJournal, boot_id, is_of_this_boot, read_lines
from workers.models.manifest import PART_BYTES
from workers.models.partial import PartialFolder
from workers.models.plan import DownloadPlan
from workers.models.room import CacheRoom
from workers.scratch import discard


@dataclass(slots=True)
class HeldModel:
    """A model that is not removed until this is closed."""

    path: Path
    """Its folder, to be read only."""
    lock: FileLock

    def close(self) -> None:
        """Let the model be removed."""
        self.lock.mark_used()
        self.lock.close()


class ModelCache:
    """The models below one folder. All methods but ``hold`` may take long: they belong into a thread."""

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        """``limit_bytes``: of all models together; 0 for no limit, None for nine tenths of what the disk has for them.

        The folder is made at the first use.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes

    def hold(self, root: str) -> HeldModel | None:
        """Hold a model that is there whole; None where it is not, or is being fetched or removed.

        Raises `ModelUnavailable` where the folder is another user's, and OSError.
        """
        self._require_private()
        if not self._at(root).is_dir() or (lock := FileLock.take(self._lock(root), shared=True)) is None:
            return None
        if not self.is_whole(root):
            lock.close()
            return None
        lock.mark_used()
        return HeldModel(self._at(root), lock)

    @contextmanager
    def writing(
        self, root: str, stop: threading.Event, waiting: Callable[[int], None] = lambda _: None
    ) -> Iterator[None]:
        """Hold the exclusive right to fetch or remove a model, once no other worker of this machine has it.

        ``waiting`` is called with the number of parts that the other has noted. Raises `DownloadCancelled`.
        """
        self._require_private()
        with FileLock.wait(self._lock(root), stop, lambda: waiting(_parts_in(self._journal(root)))):
            yield

    def is_whole(self, root: str) -> bool:
        """Whether the model is there, and has been since the machine was started or has reached the disk."""
        journal = self._journal(root)
        return self._at(root).is_dir() and (not journal.exists() or is_of_this_boot(journal))

    def partial(self, root: str) -> PartialFolder:
        """Return the folder into which a model is fetched, for the holder of ``writing``.

        What the machine's crash may have torn of a whole model is in it again.
        """
        if self._at(root).exists():
            _make_writable(self._at(root))
            self._at(root).rename(self._partial(root))
        elif self._partial(root).exists():  # a process that was killed has made some of it read-only
            _make_writable(self._partial(root))
        return PartialFolder(self._partial(root))

    def reserve(self, name: str, plan: DownloadPlan, stop: threading.Event) -> PartJournal:
        """Make room for a model, and all its files at their sizes; return the journal of its parts.

        Raises `WorkerFault` where the disk is too small for it, `ModelUnavailable` where the limit is, and OSError.
        """
        with FileLock.wait(self._room(), stop):
            CacheRoom(self._folder, self._limit_bytes).make(name, plan)
            journal = PartJournal(self._journal(plan.root), plan.identity)
            if not journal.noted:  # files of another plan would become a part of the model
                discard(self._partial(plan.root))
            self.partial(plan.root).prepare(plan)
        return journal

    def begin(self, name: str, root: str, size: int, stop: threading.Event) -> Path:
        """Make room for a folder that is not fetched in parts, and return it, empty, for the holder of ``writing``.

        ``size`` is what is known of it beforehand. Raises as ``reserve``.
        """
        discard(self._at(root))
        discard(self._partial(root))
        self._make_room(name, root, size, stop)
        self._partial(root).mkdir(mode=0o700)
        return self._partial(root)

    def finish(self, name: str, root: str, stop: threading.Event) -> None:
        """Publish a folder of ``begin``, once there is room for what it has become. Raises as ``reserve``."""
        files = (path for path in self._partial(root).rglob("*") if path.is_file())
        self._make_room(name, root, sum(path.lstat().st_size for path in files), stop)
        self.publish(root)

    def _make_room(self, name: str, root: str, size: int, stop: threading.Event) -> None:
        plan = DownloadPlan(root, (("content", size, ""),), PART_BYTES)
        with FileLock.wait(self._room(), stop):
            CacheRoom(self._folder, self._limit_bytes).make(name, plan)
            journal = PartJournal(self._journal(root), plan.identity)
            journal.begin({})  # until the folder has reached the disk it is believed by this boot alone
            journal.close()

    def publish(self, root: str) -> None:
        """Make a folder whose parts are all there read-only, and give it its name."""
        _make_read_only(self._partial(root))
        self._partial(root).rename(self._at(root))
        if boot_id():  # beside the first jobs: it may take as long as the download
            threading.Thread(target=self._sync, args=(root,), name="sync", daemon=True).start()
        else:
            _sync_all(self._at(root))
            self._journal(root).unlink(missing_ok=True)

    def _sync(self, root: str) -> None:
        """Write a model to the disk itself, and remove its journal.

        Without its lock, which would keep others from removing the model for so long: where they do, this ends.
        """
        with contextlib.suppress(OSError):
            synced = self._at(root).stat()
            _sync_all(self._at(root))
            # The room's lock, under which others remove it: with the model's own it would seem to be in use.
            with FileLock.wait(self._room(), threading.Event()):
                if os.path.samestat(self._at(root).stat(), synced):
                    self._journal(root).unlink(missing_ok=True)

    def _require_private(self) -> None:
        """Make the folder, or see that it is this user's alone: another user could put other weights into it."""
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700, parents=True)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            whose = f"user id {status.st_uid}'s" if stat.S_ISDIR(status.st_mode) else "no folder"
            raise ModelUnavailable(f"The cache {self._folder} is {whose}: set YURT_CACHE_DIR to one of this user's.")
        if status.st_mode & 0o077:
            self._folder.chmod(0o700)

    def _at(self, root: str) -> Path:
        return self._folder / root

    def _partial(self, root: str) -> Path:
        return self._folder / f"{root}.partial"

    def _journal(self, root: str) -> Path:
        return self._folder / f"{root}.journal"

    def _room(self) -> Path:
        return self._folder / "room.lock"

    def _lock(self, root: str) -> Path:
        return self._folder / f"{root}.lock"


def _parts_in(journal: Path) -> int:
    return max(0, len(read_lines(journal)) - 1)


def _make_read_only(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(parent, name).chmod(0o400)
        Path(parent).chmod(0o500)


def _make_writable(folder: Path) -> None:
    folder.chmod(0o700)
    for parent, folders, names in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o700)
        for name in names:
            Path(parent, name).chmod(0o600)


def _sync_all(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for path in (*(Path(parent, name) for name in names), Path(parent)):
            _sync_one(path)
    _sync_one(folder.parent)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
