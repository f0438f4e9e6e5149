from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from workers.scratch import Scratch, discard

HOLD = """
import sys, pathlib
from workers.scratch import Scratch
with Scratch(pathlib.Path(sys.argv[1])) as scratch:
    (scratch.folder("lease") / "input").write_text("x")
    print(scratch.path, flush=True)
    sys.stdin.read()
"""


def hold(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_nothing_is_left(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        (scratch.folder("lease") / "input").write_text("x")
        assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_the_dead_are_cleared_away_and_the_living_are_not(tmp_path: Path) -> None:
    dead, dead_path = hold(tmp_path)
    living, living_path = hold(tmp_path)
    try:
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        with Scratch(tmp_path):
            assert not dead_path.exists()
            assert (living_path / "lease" / "input").read_text() == "x"
        assert {path.name for path in tmp_path.iterdir()} == {living_path.name, f"{living_path.name}.lock"}
    finally:
        end(dead)
        end(living)


def test_what_a_handler_made_unreadable_goes_too(tmp_path: Path) -> None:
    sealed = tmp_path / "lease" / "output" / "sealed"
    (sealed / "inner").mkdir(parents=True)
    sealed.chmod(0)
    discard(tmp_path / "lease")
    assert not (tmp_path / "lease").exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "precious").write_text("x")
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "link").symlink_to(outside)
    discard(tmp_path / "lease")
    assert not (tmp_path / "lease").exists()
    assert (outside / "precious").read_text() == "x"
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_planted_link_in_the_place_of_a_folder_is_no_trap(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (tmp_path / "yurt-agent-1-a.lock").touch()
    (tmp_path / "yurt-agent-1-a").symlink_to(outside)
    with Scratch(tmp_path):
        assert (outside / "inner").exists()


def test_a_folder_that_is_read_only_itself_is_removed_too(tmp_path: Path) -> None:
    folder = tmp_path / "lease"
    folder.mkdir()
    (folder / "file").write_text("x")
    folder.chmod(0o500)
    discard(folder)
    assert not folder.exists()
