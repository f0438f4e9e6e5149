"""Notes which parts of a model lie on the disk with the right bytes, so that a download that was killed goes on there.

A line is appended for each part once its digest was checked. After a crash of the process alone that is enough: what it
wrote is in the kernel's hands. After a crash of the machine parts may be missing that were noted, so a journal of
another boot is not believed: its parts are read and compared with the digests in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HEADER = re.compile(r"yurt-model-1 ([0-9a-f]{64}) ([0-9a-z-]{0,64})")
_HEADER_BYTES = 200
_LINE = re.compile(r"([0-9]{1,9}) ([0-9a-f]{64})")


class PartJournal:
    """The journal of one download."""

    def __init__(self, path: Path, identity: str) -> None:
        """``identity`` is the plan's: a journal of another plan counts for nothing."""
        self._path = path
        self._identity = identity
        self._descriptor = -1
        self.noted: Mapping[int, str] = {}
        """Digests of the parts that an earlier download has noted, by number."""
        self.is_proven = False
        """Whether they lie on the disk for sure."""
        self._read()

    def begin(self, proven: Mapping[int, str]) -> None:
        """Go on with these parts. Raises OSError."""
        draft = self._path.with_suffix(".new")
        lines = [f"yurt-model-1 {self._identity} {boot_id()}\n", *(_line(*part) for part in proven.items())]
        self.close()
        self._descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.write(self._descriptor, "".join(lines).encode())
        draft.rename(self._path)

    def note(self, number: int, sha256: str) -> None:
        """Note a part whose bytes were written and checked."""
        os.write(self._descriptor, _line(number, sha256).encode())

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        header, *lines = read_lines(self._path) or [""]
        found = _HEADER.fullmatch(header)
        if found and found[1] == self._identity:
            parsed = [match for line in lines if (match := _LINE.fullmatch(line))]
            self.noted = {int(match[1]): match[2] for match in parsed}
            self.is_proven = found[2] == boot_id() != ""


def read_lines(path: Path) -> list[str]:
    """Return the whole lines of a journal; none where there is no journal."""
    # What follows the last line end was cut off in the middle.
    return _read(path).split("\n")[:-1]


def is_of_this_boot(path: Path) -> bool:
    """Whether the machine has not been started anew since the journal was written."""
    found = _HEADER.fullmatch(_read(path, _HEADER_BYTES).partition("\n")[0])
    return found is not None and found[2] == boot_id() != ""


def boot_id() -> str:
    """Return what changes with each start of this machine; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _read(path: Path, most: int = -1) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most).decode("ascii", "replace")


def _line(number: int, sha256: str) -> str:
    return f"{number} {sha256}\n"
