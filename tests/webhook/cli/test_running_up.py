"""A running ``yurt up`` is found from its folder; what a killed one left is not."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from webhook.cli.running_up import LOCK, RunningUp, announced, running_up

UP = RunningUp("http://127.0.0.1:8080", "secret-of-up")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("YURT_STATE", raising=False)
    monkeypatch.chdir(tmp_path)
    made = tmp_path / ".yurt" / "up"
    made.mkdir(parents=True)
    return made


def test_it_is_found_while_it_holds_its_lock(folder: Path) -> None:
    assert running_up() is None
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running_up() is None  # it is still starting
        with announced(folder, UP):
            assert running_up() == UP
            [path] = [path for path in folder.iterdir() if path.name != LOCK]
            assert path.stat().st_mode & 0o777 == 0o600
            path.write_text("{")
            assert running_up() is None
    assert [path.name for path in folder.iterdir()] == [LOCK]


def test_what_a_killed_one_left_is_not_believed(folder: Path) -> None:
    (folder / LOCK).write_text("")
    with announced(folder, UP):
        assert running_up() is None
    assert "secret-of-up" not in repr(UP)


def test_the_state_folder_may_be_another(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "up"
    elsewhere.mkdir(parents=True)
    monkeypatch.setenv("YURT_STATE", str(elsewhere.parent))
    with (elsewhere / LOCK).open("w") as lock, announced(elsewhere, UP):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running_up() == UP
