"""A worker's credential in its state folder, and agents that are started again."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.workers.agents import agent, exit_of
from tests.workers.control_plane import CREDENTIAL, ONE_TIME_TOKEN, StubControlPlane, served
from workers.credentials import StateFolder
from workers.lifecycle import Exit
from workers.settings import SettingsError

URL = "https://yurt.example"


def test_what_was_kept_is_read_by_the_next_process_and_only_by_this_user(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        assert folder.load(URL) == ""
        folder.save(URL, "first")
        folder.save(URL, "second")
    with StateFolder(tmp_path) as folder:
        assert folder.load(URL) == "second"
    assert stat.S_IMODE((tmp_path / "worker.json").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker.json", "worker.lock"]


def test_a_credential_is_shown_to_its_own_control_plane_only(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        folder.save(URL, "kept")
        assert folder.load("https://other.example") == ""


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "https://yurt.example"}', "\x00" * 100])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "worker.json").write_text(content)
    with StateFolder(tmp_path) as folder:
        assert folder.load(URL) == ""
        folder.save(URL, "kept")
        assert folder.load(URL) == "kept"


def test_one_process_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    with StateFolder(tmp_path), pytest.raises(SettingsError, match="another worker's"), StateFolder(tmp_path):
        pass
    with StateFolder(tmp_path):
        pass


def test_without_a_folder_nothing_is_kept() -> None:
    with StateFolder(None) as folder:
        folder.save(URL, "lost")
        assert (folder.keeps, folder.load(URL)) == (False, "")


async def test_an_agent_that_was_killed_comes_back_without_an_invitation(tmp_path: Path) -> None:
    plane, state = StubControlPlane(), str(tmp_path / "state")
    async with served(plane):
        async with agent(plane, tmp_path, YURT_STATE_DIR=state) as process:
            await plane.until(lambda: plane.of_kind("ask"))
            process.kill()
            await process.wait()
        plane.events.clear()
        async with agent(plane, tmp_path, YURT_STATE_DIR=state, YURT_TOKEN="") as process:
            await plane.until(lambda: plane.of_kind("ask"))
            assert plane.of_kind("hello") == [("hello", "credential")]
            process.terminate()
            code, log = await exit_of(process)
    assert code == Exit.LEFT
    assert CREDENTIAL not in log


async def test_a_revoked_agent_joins_by_its_invitation_or_says_how_to_get_one(tmp_path: Path) -> None:
    plane, state = StubControlPlane(), tmp_path / "state"
    state.mkdir()
    async with served(plane):
        plane.credential_revoked = True
        with StateFolder(state) as folder:
            folder.save(plane.url, CREDENTIAL)
        async with agent(plane, tmp_path, YURT_STATE_DIR=str(state), YURT_TOKEN="") as process:
            code, log = await exit_of(process)
        assert (code, "yurt invite" in log) == (Exit.REFUSED, True)
        async with agent(plane, tmp_path, YURT_STATE_DIR=str(state), YURT_TOKEN=ONE_TIME_TOKEN) as process:
            await plane.until(lambda: plane.of_kind("ask"))
        assert plane.of_kind("hello")[-2:] == [("hello", "credential"), ("hello", "once")]


async def test_a_second_agent_on_the_folder_of_one_that_runs_does_not_start(tmp_path: Path) -> None:
    plane, state = StubControlPlane(), str(tmp_path / "state")
    async with served(plane), agent(plane, tmp_path, YURT_STATE_DIR=state):
        await plane.until(lambda: plane.of_kind("ask"))
        async with agent(plane, tmp_path, YURT_STATE_DIR=state) as second:
            code, log = await exit_of(second)
        assert (code, "is another worker's" in log) == (Exit.SETTINGS, True)
        assert len(plane.of_kind("hello")) == 1
