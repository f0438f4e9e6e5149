"""Runs a function in a jailed process of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from workers.sandbox.child import jail
from workers.sandbox.child.jail import JailPolicy


def outcome(policy: JailPolicy | None, act: Callable[[], object], *, user: int | None = None) -> str:
    """What it came to: ``done``, the name of a system error, or ``died`` where its process ended or was replaced.

    Without a policy there is no jail. Root becomes ``user`` first, where one is given.
    """
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.close(reading)
            if user:
                _become(user)
            if policy is not None:
                jail.enter(policy)
            act()
            os.write(writing, b"done")
        except OSError as error:
            os.write(writing, errno.errorcode[error.errno or 0].encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        os.waitpid(pid, 0)
        return said.read() or "died"


def _become(user: int) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
