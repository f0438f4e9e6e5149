"""The disk of the scratch folder, as measured."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from workers import disk_space


def test_space_is_checked_before_it_is_used(tmp_path: Path) -> None:
    disk_space.require_space(tmp_path, 0)
    assert 0 < disk_space.free_bytes(tmp_path) < shutil.disk_usage(tmp_path).free
    with pytest.raises(OSError) as raised:
        disk_space.require_space(tmp_path, 1 << 60)
    assert raised.value.errno == errno.ENOSPC


def test_a_disk_that_a_jobs_own_files_fill_is_not_full_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not disk_space.is_full_without(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * (64 << 20))
    system = os.statvfs(tmp_path)
    free = system.f_bavail * system.f_frsize
    monkeypatch.setattr(disk_space, "RESERVE_BYTES", free + (32 << 20))
    with pytest.raises(OSError):
        disk_space.require_space(tmp_path, 0)
    assert disk_space.free_bytes(tmp_path) == 0
    assert not disk_space.is_full_without(tmp_path)
    monkeypatch.setattr(disk_space, "RESERVE_BYTES", free + (256 << 20))
    assert disk_space.is_full_without(tmp_path)


def test_a_disk_without_inodes_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.statvfs(tmp_path).f_files == 0:
        pytest.skip("this file system has no number of inodes")
    monkeypatch.setattr(disk_space, "RESERVE_FILES", 1 << 60)
    assert disk_space.is_full_without(tmp_path)
