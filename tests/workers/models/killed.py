"""Fetches models again and again in processes that are killed, each a little later in the code than the one before.

``python -m tests.workers.models.killed CACHE LIMIT_BYTES STEP ORDER …``: each ``ORDER`` is JSON of a ``ModelRef`` and
its ``ModelSources``. After each kill every model that seems whole is read and compared with its manifest; the exit
status is 1 where one is not. Ends once a process got through. Prints how many were killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
from itertools import count
from pathlib import Path
from types import FrameType

from workers.models.cache import ModelCache
from workers.models.fetch import ModelFetch
from workers.models.manifest import ModelManifest
from workers.protocol import ModelRef, ModelSources

_COUNTED = ("/workers/models/", "/workers/scratch", "/shutil")


class _Countdown:
    """SIGKILL after so many calls and returns of functions that change the cache, whichever thread makes them."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if any(part in frame.f_code.co_filename for part in _COUNTED):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _fetch_and_die(cache: ModelCache, orders: list[tuple[ModelRef, ModelSources]], calls: int) -> None:
    countdown = _Countdown(calls)
    threading.setprofile(countdown)
    sys.setprofile(countdown)
    for model, sources in orders:
        ModelFetch(cache, model, lambda sources=sources: sources).run()  # type: ignore[misc]
    os._exit(0)


def _is_right(folder: Path) -> bool:
    manifest = ModelManifest.decode((folder / "manifest.json").read_bytes())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return files == {"manifest.json", *(file.path for file in manifest.files)} and all(
        hashlib.sha256((folder / file.path).read_bytes()[n * manifest.part_bytes :][: manifest.part_bytes]).hexdigest()
        == digest
        for file in manifest.files
        for n, digest in enumerate(file.parts)
    )


def _main(folder: str, limit_bytes: str, step: str, *orders: str) -> int:
    cache = ModelCache(Path(folder), int(limit_bytes))
    parsed = [
        (ModelRef.model_validate(ref), ModelSources.model_validate(sources)) for ref, sources in map(json.loads, orders)
    ]
    for killed in count():
        if (pid := os.fork()) == 0:
            _fetch_and_die(cache, parsed, (killed + 1) * int(step))
        _, status = os.waitpid(pid, 0)
        for model, _ in parsed:
            if (held := cache.hold(model.root)) is not None:
                with contextlib.closing(held):
                    if not _is_right(held.path):
                        return 1
        if not os.WIFSIGNALED(status):
            print(killed)
            return os.waitstatus_to_exitcode(status)
    raise AssertionError


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
