from __future__ import annotations

from pathlib import Path

import pytest

from infra.demo.folder import DemoFolder, FolderError


def test_only_the_sheet_stays(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "a" / "b")
    folder.services.mkdir()
    (folder.services / "bucket.log").write_text("x")
    folder.sheet.write_text("sheet")
    folder.tidy()
    assert list(folder.path.iterdir()) == [folder.sheet]


def test_nothing_stays_of_a_run_without_a_sheet() -> None:
    folder = DemoFolder(None)
    folder.services.mkdir()
    folder.tidy()
    assert not folder.path.exists()


def test_a_chosen_folder_with_other_files_is_left(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    DemoFolder(tmp_path).tidy()
    assert (tmp_path / "mine").exists()


def test_another_runs_database_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    with pytest.raises(FolderError, match="remove it, or choose another"):
        DemoFolder(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be made"):
        DemoFolder(tmp_path / "file" / "folder")
