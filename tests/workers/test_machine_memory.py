from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.machine_memory import memory_bytes

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_it_is_that_of_the_machine_where_nothing_limits_it(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path) == MACHINE
    assert (memory_bytes() or 0) <= MACHINE


@pytest.mark.parametrize(
    ("groups", "files", "least"),
    [
        ("0::/", {"memory.max": "5000"}, 5_000),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "7000"}, 7_000),
        ("0::/a/b", {"a/b/memory.max": "9000", "a/memory.max": "max"}, 9_000),
        ("4:cpu,memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": "6000"}, 6_000),
        # A container sees its own group as the mount, and the path of it outside.
        ("4:memory:/outside/c", {"memory/memory.limit_in_bytes": "4000"}, 4_000),
        ("0::/../../x", {"memory.max": "max"}, MACHINE),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("nonsense\n::\n0::/", {"memory.max": "none"}, MACHINE),
    ],
)
def test_it_is_the_least_that_a_control_group_allows(
    groups: str, files: dict[str, str], least: int, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert memory_bytes(tmp_path) == least
