"""Classifies an exception that left a handler: the object's fault or the handler's.

Never the machine's: a file may choose the words of an error. Whether the machine is at fault the agent measures
(``workers.disk_space``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from workers.handlers import HandlerError, HandlerUnavailable
from workers.sandbox import limit_errors
from workers.sandbox.messages import MAX_MESSAGE_LENGTH, HandlerFailed, HandlerMissing, JobRequest

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_MEMORY = ("out of memory", "failed to allocate", os.strerror(errno.ENOMEM).lower())
_NO_THREAD = ("error creating thread", "can't start new thread")
"""GLib and Python. A thread needs memory for its stack, but the machine may also have too many threads."""
_REFUSED = (
    ". If the sandbox refused it: add the path to read or write, or network = true, in the pipeline's sandbox settings"
)
_MAX_CHAIN = 20
"""Exceptions to look at: a handler can build a chain without end."""


def classify(error: BaseException, request: JobRequest) -> HandlerFailed | HandlerMissing:
    """Return the outcome of a job whose handler raised ``error``.

    The system's own errors are looked for first and along the whole chain: a handler that wraps a full disk
    in "cannot be read" has not understood it. libvips gives its errors as text only.
    """
    chain = [link for link in _chain(error) if not isinstance(link, HandlerError)]
    if any(_is_system_error(link, *_DISK_FULL) for link in chain):
        return _failed(HandlerError("disk-full", f"There was no room on the disk: {error}", retry=True))
    if any(isinstance(link, MemoryError) or _mentions(link, _NO_MEMORY) for link in chain):
        return _failed(limit_errors.memory(request.memory_bytes))
    if any(_mentions(link, _NO_THREAD) for link in chain):
        return _failed(limit_errors.memory(request.memory_bytes, retry=True))
    if any(_is_system_error(link, errno.EFBIG) for link in chain):
        return _failed(limit_errors.output(request.output_bytes))
    return _of_handler(error, request)


def _of_handler(error: BaseException, request: JobRequest) -> HandlerFailed | HandlerMissing:
    """Return the outcome where the system is not to blame."""
    if isinstance(error, HandlerUnavailable):
        return HandlerMissing(message=str(error)[:MAX_MESSAGE_LENGTH])
    if isinstance(error, HandlerError):
        return _failed(error)
    kind = type(error).__name__
    hint = _REFUSED if request.sandbox.mode != "off" and _is_refusal(error) else ""
    return _failed(HandlerError("handler-error", f"The handler failed with {kind}: {error}{hint}", retry=True))


def _is_refusal(error: BaseException) -> bool:
    """Whether the jail may have refused it: a jailed process fails as one without the rights to a file does."""
    return any(isinstance(link, PermissionError) for link in _chain(error))


def _failed(error: HandlerError) -> HandlerFailed:
    return HandlerFailed(
        reason=error.reason,
        message=str(error.message)[:MAX_MESSAGE_LENGTH],
        retry=error.retry,
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MAX_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _is_system_error(error: BaseException, *numbers: int) -> bool:
    if isinstance(error, OSError):
        return error.errno in numbers
    # The words of any other exception may be the file's own, as those of int() are.
    return _is_of_libvips(error) and any(os.strerror(number) in str(error) for number in numbers)


def _is_of_libvips(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "pyvips"


def _mentions(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error).lower() for text in texts)
