"""Loads handlers' modules into the template, so that no file waits for an import: those that stand a fork.

A module that starts threads, or opens files or sockets, when it is imported does not stand it: a fork has no threads
but one, and would share the rest with the files after it. Whether one does is looked at in a fork, since neither can
be undone. Such a module is imported anew for each file, in that file's own process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from workers.handlers import registry
from workers.sandbox.messages import JobRequest

_STANDS_FORK, _DOES_NOT, _FAILED = range(3)


class Preloaded:
    """The handlers that the template has loaded, or must not load."""

    def __init__(self, own: Sequence[int]) -> None:
        """``own``: the template's descriptors, which a fork closes."""
        self._own = own
        self._known: set[str] = set()

    def add(self, request: JobRequest) -> bool:
        """Load of the request's handler what is next and not known yet; return whether anything was loaded now."""
        models = {name: Path(folder) for name, folder in request.models.items()}
        stages = registry.loading(request.kind, request.options, models, tuple(map(Path, request.imports)))
        loading = next((stage for stage in stages if stage.name not in self._known), None)
        if loading is None:
            return False
        found = _try(loading.load, self._own)
        if found != _FAILED:  # one that fails may be mended: the job tells why, and the next one tries again
            self._known.add(loading.name)
        if found == _STANDS_FORK:
            loading.load()
        return found == _STANDS_FORK


def _try(load: Callable[[], object], own: Sequence[int]) -> int:
    pid = os.fork()
    if pid == 0:
        _load_and_exit(load, own)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code in (_STANDS_FORK, _DOES_NOT) else _FAILED


def _load_and_exit(load: Callable[[], object], own: Sequence[int]) -> NoReturn:
    found = _FAILED
    try:
        _be_silent(own)
        before = _threads_and_files()
        load()
        found = _STANDS_FORK if _threads_and_files() == before else _DOES_NOT
    finally:
        os._exit(found)


def _be_silent(own: Sequence[int]) -> None:
    """Close the template's descriptors, and print nothing: the import's words come once, where it counts."""
    for descriptor in own:
        os.close(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _threads_and_files() -> tuple[int, frozenset[Path]]:
    if sys.platform != "linux":
        import threading

        return threading.active_count(), frozenset(Path("/dev/fd").iterdir())
    return len(list(Path("/proc/self/task").iterdir())), frozenset(Path("/proc/self/fd").iterdir())
