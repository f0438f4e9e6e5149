"""Keeps a worker's credential in a folder, so that a later process comes back as the same worker.

One process at a time: each holds a lock on a file beside it, which the kernel drops with the process. A copy of the
folder on another machine is no second worker either, since the control plane knows one process of a worker only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from workers.settings import SettingsError

_FILE = "worker.json"
_LOCK = "worker.lock"
_MAX_BYTES = 16_384

_log = structlog.get_logger()


class StateFolder:
    """A context manager over an existing folder that only this process uses. Without a folder it keeps nothing.

    Raises `SettingsError` where another process uses it, or it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = -1

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        try:
            self._lock = os.open(self._path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise SettingsError(f"YURT_STATE_DIR {str(self._path)!r} is another worker's: give each its own") from None
        except OSError as error:
            raise SettingsError(f"YURT_STATE_DIR {str(self._path)!r} cannot be used: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def keeps(self) -> bool:
        """Whether there is a folder."""
        return self._path is not None

    def load(self, url: str) -> str:
        """Return the credential that was kept for the control plane at ``url``; empty where there is none.

        A credential of another control plane is not shown to this one.
        """
        if self._path is None:
            return ""
        try:
            descriptor = os.open(self._path / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                kept = json.loads(file.read(_MAX_BYTES))
            return str(kept["credential"]) if kept["url"] == url else ""
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("credential-unreadable", file=str(self._path / _FILE), error=type(error).__name__)
            return ""

    def save(self, url: str, credential: str) -> None:
        """Keep a credential, readable by this user only: all of it, or what was there before. Failures are logged."""
        if self._path is None or not credential:
            return
        draft = self._path / f".{_FILE}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps({"url": url, "credential": credential}).encode())
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._path / _FILE)
        except OSError as error:
            hint = "after a restart this worker needs a new invitation"
            _log.error("credential-not-kept", folder=str(self._path), error=error.strerror, hint=hint)

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
