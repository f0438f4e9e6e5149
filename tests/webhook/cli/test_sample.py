from __future__ import annotations

from pathlib import Path

import pytest

from webhook.cli.sample import SAMPLE, configuration, overrides
from webhook.config_file import load
from workers.handlers.registry import options_model


def test_the_sample_is_a_valid_configuration() -> None:
    assert load(SAMPLE, options_model).pipelines


def test_the_chosen_file_goes_before_the_others_and_those_before_the_sample(tmp_path: Path) -> None:
    chosen, other = tmp_path / "chosen.toml", tmp_path / "yurt.toml"
    assert configuration(None, other) == SAMPLE
    other.touch()
    assert configuration(None, other) == other
    chosen.touch()
    assert configuration(chosen, other) == chosen


def test_a_missing_file_is_named_and_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "yurt.toml").touch()
    with pytest.raises(SystemExit) as ended:
        configuration(tmp_path / "nowhere.toml", tmp_path / "yurt.toml")
    assert ended.value.code == 2
    assert f"there is no {tmp_path / 'nowhere.toml'}: name a configuration with --config" in capsys.readouterr().err


def test_overrides_are_the_variables_of_fields_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_SERVER__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "s3cret")
    found = overrides()
    assert found["YURT_SERVER__LISTEN"] == "127.0.0.1:1"
    assert "YURT_ADMIN_TOKEN" not in found
