"""What a jailed process may do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class JailError(Exception):
    """The kernel does not have, or refuses, what the jail needs. The message says what."""


@dataclass(frozen=True, slots=True)
class JailPolicy:
    """What is allowed; all else is refused. A folder stands for all that lies in it, a missing path for nothing."""

    readable: tuple[Path, ...] = ()
    executable: tuple[Path, ...] = ()
    """Read, and run as programs or mapped as libraries."""
    listed: tuple[Path, ...] = ()
    """Folders whose names may be read, not their files."""
    writable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    """Read, written and controlled."""
    programs: bool = False
    """Whether it may start processes and run programs."""
    network: bool = False
    """Whether it may open sockets of the internet."""
    ports: tuple[int, ...] = ()
    """TCP ports that it may connect to."""
