"""Outputs are opened once: what counts is what was opened, not what a name leads to later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workers.sandbox.jobs import JobFolder, failure, python, sandbox
from workers.handlers import OutputFile
from workers.sandbox.opened import NotPublishableError, open_all, output_folder

FILE = OutputFile("a.txt", "text/plain")


def test_what_is_swapped_after_the_check_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of another")
    (tmp_path / "output").mkdir()
    (tmp_path / "output/a.txt").write_text("own")
    with output_folder(tmp_path / "output") as folder:
        [opened] = open_all([FILE], folder)
    (tmp_path / "output/a.txt").unlink()
    (tmp_path / "output/a.txt").symlink_to(tmp_path / "secret")
    with opened.content as content:
        assert (content.read(), opened.size) == (b"own", 3)


def test_a_folder_that_is_swapped_during_the_job_is_the_old_one(tmp_path: Path) -> None:
    for name in ("output", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    with output_folder(tmp_path / "output") as folder:
        (tmp_path / "output").rename(tmp_path / "away")
        (tmp_path / "output").symlink_to(tmp_path / "other")
        [opened] = open_all([FILE], folder)
    with opened.content as content:
        assert content.read() == b"output"
    with pytest.raises(OSError), output_folder(tmp_path / "output"):
        pass


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "folder", "absent", "device link"])
def test_only_plain_files_with_one_name_are_opened(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("of another")
    path = tmp_path / "a.txt"
    match kind:
        case "symlink":
            path.symlink_to(tmp_path / "secret")
        case "hard link":
            path.hardlink_to(tmp_path / "secret")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device link":
            path.symlink_to("/dev/zero")
    with output_folder(tmp_path) as folder, pytest.raises(NotPublishableError, match=r"a\.txt, which "):
        open_all([FILE], folder)


def test_all_are_opened_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    before = len(list(Path("/dev/fd").iterdir()))
    with output_folder(tmp_path) as folder, pytest.raises(NotPublishableError):
        open_all([FILE, OutputFile("b.txt", "text/plain")], folder)
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
async def test_a_file_that_a_handler_made_unreadable_is_no_fault_of_the_machine(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("unreadable_output"), folder.job())
    assert (error.reason, error.retry) == ("handler-error", True)
