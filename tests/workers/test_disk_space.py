"""The disk of the scratch folder, as measured."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from workers import disk_space


def test_space_is_checked_before_it_is_used(tmp_path: Path) -> None:
    disk_space.require_space(tmp_path, 0)
    with pytest.raises(OSError) as raised:
        disk_space.require_space(tmp_path, 1 << 60)
    assert raised.value.errno == errno.ENOSPC
