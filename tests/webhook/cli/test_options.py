from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from webhook.cli.options import admin_token, config_option, fail, failing, state_option, url_option


@click.command()
@config_option
@state_option
@url_option
def shared(config_path: Path, state: Path, url: str) -> None:
    click.echo(f"{config_path} {state} {url}")


@pytest.mark.parametrize(
    ("argv", "environment", "printed"),
    [
        ([], {}, "yurt.toml .yurt http://127.0.0.1:8080"),
        ([], {"YURT_CONFIG": "a.toml", "YURT_STATE": "s", "YURT_URL": "http://b"}, "a.toml s http://b"),
        (["--config", "c.toml", "--url", "http://d"], {"YURT_CONFIG": "a.toml"}, "c.toml .yurt http://d"),
    ],
)
def test_an_option_goes_before_its_variable_and_both_before_the_default(
    argv: list[str], environment: dict[str, str], printed: str
) -> None:
    without = {"YURT_CONFIG": None, "YURT_STATE": None, "YURT_URL": None}
    assert CliRunner().invoke(shared, argv, env={**without, **environment}).stdout == f"{printed}\n"


def test_the_admin_token_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "s3cret-s3cret-s3cret")
    assert admin_token("http://127.0.0.1:8080") == "s3cret-s3cret-s3cret"
    monkeypatch.setenv("YURT_ADMIN_TOKEN", "")
    with pytest.raises(SystemExit) as ended:
        admin_token("http://127.0.0.1:8080")
    assert ended.value.code == 2
    assert "set it to the same value as for the control plane" in capsys.readouterr().err


def test_fail_ends_with_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fail("the bucket is gone", status=1)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "yurt: the bucket is gone\n"


def test_only_expected_errors_become_messages() -> None:
    with pytest.raises(SystemExit), failing(KeyError, ValueError):
        raise ValueError("wrong")
    with pytest.raises(TypeError), failing(KeyError, ValueError):
        raise TypeError
