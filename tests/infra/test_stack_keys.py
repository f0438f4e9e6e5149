from __future__ import annotations

from pathlib import Path

import pytest

from infra.stack_keys import StackKeys, StackKeysError, kept_keys


def test_keys_differ_and_are_not_shown() -> None:
    first, second = StackKeys(), StackKeys()
    assert len({first.secret_key, first.webhook, first.admin, second.secret_key, second.webhook, second.admin}) == 6
    assert first.admin not in repr(first)


def test_the_next_run_has_the_same_keys_in_a_file_for_this_user_alone(tmp_path: Path) -> None:
    first = kept_keys(tmp_path / "keys.json")
    assert kept_keys(tmp_path / "keys.json") == first
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("keys.json", 0o600)]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "7", '{"admin": ""}', '{"admin": 7}', '{"other": "x"}', "\udcff", "{" * 5000]
)
def test_another_file_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(StackKeysError, match="holds no keys of `yurt up`: remove it") as refused:
        kept_keys(path)
    assert path.read_text(errors="surrogateescape") == text
    assert "{" not in str(refused.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackKeysError, match=r"keys\.json cannot be written: No such file"):
        kept_keys(tmp_path / "nowhere" / "keys.json")
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(StackKeysError, match=r"keys\.json cannot be read: Is a directory"):
        kept_keys(tmp_path / "keys.json")
