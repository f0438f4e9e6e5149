"""Folders that cannot be written are refused at the start, in one line, and only where they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.webhook.plane import configured
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.pool_settings import Pool
from webhook.state_folder import check_folders


def minting(provider: str) -> Config:
    return configured().model_copy(update={"pools": {"local": Pool(provider=provider)}})


def test_a_state_folder_that_cannot_be_made_is_named_with_user_and_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refused:
        check_folders(minting("local"), tmp_path / "file/state", embedded=False)
    message = str(refused.value)
    for word in (str(tmp_path / "file/state"), "id ", "--state", "YURT_STATE"):
        assert word in message
    assert "\n" not in message


def test_without_local_workers_and_embedded_database_none_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folders(minting("none"), tmp_path / "file/state", embedded=False)
    with pytest.raises(ConfigError, match="state folder"):
        check_folders(minting("none"), tmp_path / "file/state", embedded=True)


def test_no_folder_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(ConfigError, match="TMPDIR"):
        check_folders(minting("local"), tmp_path / "state", embedded=False)
