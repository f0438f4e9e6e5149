"""How much memory this process may use: of the machine, or of its container.

Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the Linux kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Bytes of memory of the machine, or what the control groups of this process allow if that is less.

    None: it cannot be known. ``root`` is where ``proc`` and ``sys`` lie.
    """
    known = [*_machine(), *_control_groups(root)]
    return min(known, default=None)


def _machine() -> Iterator[int]:
    with suppress(ValueError, OSError):  # a name that this system does not know
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _control_groups(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            yield from _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _limits(mount: Path, path: str, name: str) -> Iterator[int]:
    """Of a group and all above it. In a container the group's own folder is the mount itself."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # "max": none
            yield int((folder / name).read_text())
        if folder == mount:
            return
