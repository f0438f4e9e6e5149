"""``yurt deploy``: a file with functions runs on workers, its next version takes the next leases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.stack import running
from tests.polling import wait_until
from tests.yurt.deployed import imported, written
from tests.yurt.wheels import index, wheel
from webhook.config_file import load
from workers.handlers.registry import options_model

CONFIG = """
[server]
listen = "127.0.0.1:0"
bundles = "s3://photos-out/functions/"
[pipelines.photos]
input = "s3://photos-in/other/"
output = "s3://photos-out/other/"
[pools.local]
provider = "local"
slots = 2
limit = 1
"""
CODE = """
import time, yurt
from pathlib import Path

VERSION = {version}

@yurt.function(requirements=["greeting"], on="s3://photos-in/uploads/", output="s3://photos-out/captions/",
               pipeline={{"sandbox": {{"mode": "off"}}}})
def caption(photo: yurt.File, gate: str = ""):
    import greeting
    if gate:
        Path(gate + ".started").touch()
        while not Path(gate).exists():
            time.sleep(0.02)
    return [greeting.WORDS, VERSION]
"""


def yurt_command(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "webhook", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env={**os.environ})


@pytest.mark.slow
def test_a_file_is_deployed_changed_and_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    variables = index(tmp_path / "index", monkeypatch)
    wheel(tmp_path / "index", "greeting", "WORDS = 'hello'")
    path = tmp_path / "yurt.toml"
    path.write_text(CONFIG)
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"x")
    with running(load(path, options_model), path, tmp_path / "state", environment=variables) as stack:
        monkeypatch.setenv("YURT_URL", stack.url)
        monkeypatch.setenv("YURT_ADMIN_TOKEN", stack.keys.admin)
        source = str(written(tmp_path, CODE.format(version=1)))
        dry = yurt_command("deploy", source, "--dry-run")
        assert (dry.returncode, "Nothing was changed" in dry.stdout) == (0, True), dry.stderr
        first = json.loads(yurt_command("deploy", source, "--json", "--note", "first").stdout)
        assert (first["app"], first["version"], first["changed"]) == ("app", 1, True)
        assert {change["name"] for change in first["changes"]} == {"caption", "caption-calls"}
        caption = imported(Path(source), monkeypatch).caption
        file = imported(Path(source), monkeypatch).yurt.File(photo)
        assert caption.remote(file) == ["hello", 1]

        gate, values = tmp_path / "gate", []
        calling = threading.Thread(target=lambda: values.append(caption.remote(file, gate=str(gate))))
        calling.start()
        wait_until(Path(f"{gate}.started").exists, seconds=30)
        written(tmp_path, CODE.format(version=2))
        second = yurt_command("deploy", source)
        assert (second.returncode, "options.bundle" in second.stdout) == (0, True), second.stderr
        assert caption.remote(file) == ["hello", 2], "the next lease has the new version"
        assert values == [], "while the earlier one is running"
        gate.touch()
        calling.join(30)
        assert values == [["hello", 1]]

        assert "has version 2 already" in yurt_command("deploy", source).stdout
        assert yurt_command("rollback", "app").returncode == 0
        assert caption.remote(file) == ["hello", 1]
        stack.s3().upload_file(str(photo), "photos-in", "uploads/dog.jpg")
        value = "captions/uploads/dog.jpg/value.json"
        wait_until(lambda: stack.s3().list_objects_v2(Bucket="photos-out", Prefix=value)["KeyCount"] == 1, seconds=60)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("x = 1", "has no function with @yurt.function"),
        ("import yurt\n@yurt.function(requirements=['no-such-package'])\ndef one(): ...", "no-such-package"),
    ],
)
def test_what_cannot_be_packed_is_told_before_anything_is_sent(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index(tmp_path / "index", monkeypatch)
    done = yurt_command("deploy", str(written(tmp_path, code)), "--url", "http://127.0.0.1:9")
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert done.stdout == ""
