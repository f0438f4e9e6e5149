"""What an exception out of a handler means: the object's fault, the handler's, or this machine's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from workers.handlers import HandlerError
from workers.sandbox.child import limit_errors
from workers.sandbox.child.wire import Failed, Fault, Request

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_MEMORY = ("out of memory", "failed to allocate", os.strerror(errno.ENOMEM).lower())
_NO_THREAD = ("error creating thread", "can't start new thread")
"""GLib and Python. A thread needs memory for its stack, but the machine may also have too many threads."""


def of(error: BaseException, request: Request) -> Failed | Fault:
    """Return the verdict on what the handler raised.

    The system's own errors are looked for first and along the whole chain: a handler that wraps a full disk
    in "cannot be read" has not understood it. libvips gives its errors as text only.
    """
    chain = [link for link in _chain(error) if not isinstance(link, HandlerError)]
    if any(_says(link, *_DISK_FULL) for link in chain):
        return Fault(outcome="fault", message=f"This worker's disk is full: {error}")
    if any(isinstance(link, MemoryError) or _holds(link, _NO_MEMORY) for link in chain):
        return _failed(limit_errors.memory(request["memory_bytes"]))
    if any(_holds(link, _NO_THREAD) for link in chain):
        return _failed(limit_errors.memory(request["memory_bytes"], retry=True))
    if any(_says(link, errno.EFBIG) for link in chain):
        return _failed(limit_errors.output(request["output_bytes"]))
    if isinstance(error, HandlerError):
        return _failed(error, clean=True)
    kind = type(error).__name__
    return _failed(HandlerError("handler-error", f"The handler failed with {kind}: {error}", retry=True))


def _failed(error: HandlerError, *, clean: bool = False) -> Failed:
    return Failed(
        outcome="failed",
        reason=error.reason,
        message=str(error.message)[:4_000],
        retry=error.retry,
        clean=clean,
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _says(error: BaseException, *numbers: int) -> bool:
    if isinstance(error, OSError):
        return error.errno in numbers
    return any(os.strerror(number) in str(error) for number in numbers)


def _holds(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error).lower() for text in texts)
