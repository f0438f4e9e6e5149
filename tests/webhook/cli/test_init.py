"""``yurt init``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from webhook.config_file import load
from webhook.secrets_file import secrets
from workers.handlers.registry import options_model
from workers.own_process import own_process


def init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = own_process("webhook", "init", *arguments)
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_writes_a_configuration_and_secrets_that_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YURT_SECRETS_FILE", raising=False)
    options = ("--input", "s3://mine/in/", "--output", "s3://mine/out/", "--public-url", "https://yurt.example.com")
    ended = init(tmp_path, *options)
    assert ended.returncode == 0, ended.stderr
    config = load(tmp_path / "yurt.toml", options_model)
    pipeline = config.pipelines["photos"]
    assert (str(pipeline.input), str(pipeline.output)) == ("s3://mine/in/", "s3://mine/out/")
    assert config.server.public_url == "https://yurt.example.com"
    assert (tmp_path / "yurt.secrets").stat().st_mode & 0o777 == 0o600
    read = secrets(tmp_path / "yurt.toml")
    [webhook] = read.webhook_secrets
    assert min(len(webhook), len(read.yurt_admin_token.get_secret_value())) >= 40
    assert webhook not in ended.stdout + ended.stderr
    assert "setup --yes" in ended.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "yurt.toml").write_text("mine")
    assert init(tmp_path).returncode == 0
    secret = (tmp_path / "yurt.secrets").read_text()
    again = init(tmp_path)
    assert again.stdout.count("is left as it is") == 2
    assert (tmp_path / "yurt.toml").read_text() == "mine"
    assert (tmp_path / "yurt.secrets").read_text() == secret


def test_git_ignores_the_secrets(tmp_path: Path) -> None:
    assert init(tmp_path, "plain").returncode == 0
    assert not (tmp_path / "plain" / ".gitignore").exists()
    (tmp_path / ".gitignore").write_text("build")
    assert init(tmp_path).returncode == 0
    assert (tmp_path / ".gitignore").read_text() == "build\nyurt.secrets\n.yurt/\n"
    init(tmp_path)
    assert (tmp_path / ".gitignore").read_text().count("yurt.secrets") == 1


def test_a_wrong_place_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ended = init(tmp_path, "--input", "photos-in/uploads")
    assert ended.returncode == 2
    assert "--input has to be of the form s3://bucket/prefix/" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = init(tmp_path, "file/below")
    assert ended.returncode == 1
    assert "cannot write into" in ended.stderr
    assert "Traceback" not in ended.stderr
