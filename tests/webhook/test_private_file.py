from __future__ import annotations

import os
from pathlib import Path

import pytest

from webhook.private_file import private


def test_a_new_file_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open(tmp_path / "a.log", "ab", opener=private) as file:
            file.write(b"one")
    finally:
        os.umask(before)
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600


def test_one_that_an_earlier_version_left_open_is_closed_and_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one ")
    path.chmod(0o644)
    with open(path, "ab", opener=private) as file:
        file.write(b"two")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"one two"


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "a.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        private(str(tmp_path / "a.log"), os.O_WRONLY | os.O_TRUNC)
    assert (tmp_path / "other").read_bytes() == b"kept"
