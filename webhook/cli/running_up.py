"""Finds the control plane of a ``yurt up`` that runs in this folder, so that another terminal needs no variables."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

_ANNOUNCEMENT = "control-plane.json"
LOCK = "lock"
"""File in the folder of ``yurt up`` that is locked as long as it runs."""


@dataclass(frozen=True, slots=True)
class RunningUp:
    """Control plane of a running ``yurt up``."""

    url: str
    admin: str = field(repr=False)


@contextlib.contextmanager
def announced(folder: Path, up: RunningUp) -> Iterator[None]:
    """Tell commands in this folder of a running ``yurt up``, readable by its owner only, for the ``with`` block."""
    path = folder / _ANNOUNCEMENT
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(up), file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_up() -> RunningUp | None:
    """The ``yurt up`` that runs on the state folder of this directory (``YURT_STATE``); None: there is none.

    What a killed one has left behind is told from a running one by the lock, which ended with its process.
    """
    folder = Path(os.environ.get("YURT_STATE") or ".yurt") / "up"
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        pass
    except OSError:
        return None
    try:
        fields = json.loads((folder / _ANNOUNCEMENT).read_text(encoding="utf-8"))
        return RunningUp(str(fields["url"]), str(fields["admin"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is still starting
