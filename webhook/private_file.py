"""Opens files that only this process's user may read: logs, and whatever else may hold a secret."""

from __future__ import annotations

import os

_MODE = 0o600


def private(path: str, flags: int) -> int:
    """Open a file, made with mode 0600 where it is missing; one that an earlier version left open to others is closed.

    For ``opener=`` of ``open``. A link in the place of the file is refused. Raises OSError.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, _MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
