"""Folders that are made read-only, and removed again, as any user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.models.read_only import make_read_only, make_writable, remove


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        path = Path(name, "folder")
        (path / "a" / "b").mkdir(parents=True)
        (path / "a" / "b" / "file").write_bytes(b"x")
        yield path


def test_nothing_can_be_changed_until_it_is_made_writable(folder: Path) -> None:
    make_read_only(folder)
    modes = [path.stat().st_mode & 0o777 for path in (folder, folder / "a" / "b", folder / "a" / "b" / "file")]
    assert modes == [0o500, 0o500, 0o400]
    make_writable(folder)
    (folder / "a" / "b" / "file").write_bytes(b"y")


def test_a_read_only_folder_is_removed_and_what_a_link_leads_to_is_not(folder: Path) -> None:
    kept = folder.with_name("kept")
    kept.mkdir(mode=0o500)
    (folder / "link").symlink_to(kept)
    make_read_only(folder / "a")
    program = "import os, sys, pathlib; from workers.models.read_only import remove\n"
    if os.geteuid() == 0:  # root removes anything: be another user
        for path in (folder, kept, *folder.rglob("*")):
            os.chown(path, 1234, 1234, follow_symlinks=False)
        program += "os.setgid(1234); os.setuid(1234)\n"
    subprocess.run([sys.executable, "-c", program + "remove(pathlib.Path(sys.argv[1]))", str(folder)], check=True)
    assert not folder.exists()
    assert kept.stat().st_mode & 0o777 == 0o500


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    remove(tmp_path / "none")
