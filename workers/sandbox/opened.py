"""Opens each output of a handler once: what was checked on that descriptor is what is uploaded from it.

A name says nothing: whatever runs as this user may put another file, or a link to one, in its place between a check and
an upload.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import JsonValue

from workers.handlers import OutputFile

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OF_THE_FILE = {
    errno.ENOENT: "is not in the output folder",
    errno.ELOOP: "is a folder, a link or a device: only plain files are published",
    errno.ENXIO: "is a folder, a link or a device: only plain files are published",
    errno.EACCES: "cannot be read: the handler took away the permission",
    errno.EPERM: "cannot be read: the handler took away the permission",
}
"""Errors of open(2) that a handler can bring about; others are this machine's."""


class NotPublishableError(Exception):
    """An output cannot be published. The message names it and says why."""


@dataclass(frozen=True, slots=True)
class OpenedOutput:
    """One output, open for reading."""

    file: OutputFile
    content: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class OpenedResult:
    """A handler's result with its outputs open. A context manager, which closes them."""

    outputs: tuple[OpenedOutput, ...]
    labels: Mapping[str, JsonValue]

    def close(self) -> None:
        """Close all outputs."""
        for output in self.outputs:
            output.content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def output_folder(path: Path) -> Iterator[int]:
    """Open the folder of the outputs: before a handler runs, since it may put another in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_all(files: Iterable[OutputFile], folder: int) -> tuple[OpenedOutput, ...]:
    """Open each of these files in ``folder``: all, or none. Their names are valid (``OutputRequest``).

    Raises:
        NotPublishableError: one is no plain file with one name and this process's user as its owner.
        OSError: this machine is to blame, not the handler.
    """
    with ExitStack() as opened:
        outputs = []
        for file in files:
            outputs.append(_open(file, folder))
            opened.callback(outputs[-1].content.close)
        opened.pop_all()
    return tuple(outputs)


def _open(file: OutputFile, folder: int) -> OpenedOutput:
    try:
        content = os.fdopen(os.open(file.name, _FLAGS, dir_fd=folder), "rb", buffering=0)
    except IsADirectoryError:  # of fdopen, which has closed it
        raise NotPublishableError(f"{file.name}, which {_OF_THE_FILE[errno.ELOOP]}") from None
    except OSError as error:
        if error.errno in _OF_THE_FILE:
            raise NotPublishableError(f"{file.name}, which {_OF_THE_FILE[error.errno]}") from None
        raise
    status = os.fstat(content.fileno())
    if problem := _problem(status):
        content.close()
        raise NotPublishableError(f"{file.name}, which {problem}")
    return OpenedOutput(file, content, status.st_size)


def _problem(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return _OF_THE_FILE[errno.ELOOP]
    if status.st_nlink != 1:
        return "has another name too (a hard link), or none: publish a copy"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    return ""
