"""``yurt demo`` as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.infra.demo.fixtures import REPORT_KEYS
from tests.processes import yurt

UNRELATED = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "DATABASE_URL": "postgresql://127.0.0.1:9/none"}
"""What a shell may hold for other work. The demo must not touch it."""


@pytest.mark.slow
def test_thirty_photos_travel_the_whole_way(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with yurt("demo", "--json", "--folder", str(folder), "--seed", "3", cwd=tmp_path, environment=UNRELATED) as demo:
        status = demo.ended(seconds=200)
        assert status == 0, demo.output()
        assert demo.left() == []
    assert len(demo.out) == 1, "progress belongs on stderr"
    report = json.loads(demo.out[-1])
    assert list(report) == REPORT_KEYS
    assert report["verified"] is True
    assert (report["uploads"], report["done"], report["parked"]) == (33, 28, 2)
    assert report["events"] > report["uploads"], "the bucket sent nothing twice"
    assert 0 < report["duplicates"] <= report["events"] - report["uploads"]
    assert report["minted"] == report["slain"] > 0
    assert 0 < report["upload_to_result_ms"]["p50"] <= report["upload_to_result_ms"]["p95"]
    assert [path.name for path in folder.iterdir()] == ["contact-sheet.html"]
    printed = "".join(demo.err)
    assert f"{(folder / 'contact-sheet.html').as_uri()}\n" in printed, "a URL on a line of its own can be opened"
    offline = "the photos are not checked by models" in printed
    assert report["verdicts"] == ({} if offline else {"ok": 28})
    what_to_try_next_works(printed, tmp_path)
    for words in ("workers minted", "slain", "named .jpg but holds text", "The file is cut off", "Verified"):
        assert words in printed


def what_to_try_next_works(printed: str, folder: Path) -> None:
    """Run the commands that the demo ends with, as a person does who pastes them."""
    [block] = re.findall(r"Try next:\n((?:  .*\n)+)", printed)
    commands = {line.split("  ")[1]: line for line in block.splitlines()}
    assert [command.split()[-1] for command in commands] == ["up", "my-yurt", "--help"]
    for command in list(commands)[1:]:
        subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True, timeout=30)
    assert (folder / "my-yurt" / "yurt.toml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting the bucket", r"leased [1-9]"])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, moment: str) -> None:
    folder = tmp_path / "demo"
    with yurt("demo", "--folder", str(folder), cwd=tmp_path) as demo:
        demo.until_printed(moment)
        demo.note_descendants()
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 130, demo.output()
        assert demo.left() == []
        assert "Interrupted" in demo.output()
        assert "Traceback" not in demo.output()
        assert not folder.exists()


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_worker(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as temporary,
        yurt("demo", cwd=tmp_path, environment={"TMPDIR": temporary}) as demo,
    ):
        Path(temporary).chmod(0o711)  # where this is root, PostgreSQL is not
        demo.until_printed(r"leased [1-9]")
        demo.process.send_signal(signal.SIGINT)
        demo.until_printed("stopping")
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 130, demo.output()
        assert demo.left() == []


@pytest.mark.slow
def test_a_service_that_dies_is_shown_with_its_log(tmp_path: Path) -> None:
    with yurt("demo", "--folder", str(tmp_path / "demo"), cwd=tmp_path) as demo:
        demo.until_printed("workers alive 2")
        os.kill(demo.descendant("serve"), signal.SIGKILL)
        assert demo.ended() == 1
        printed = demo.output()
        assert "control-plane ended by itself, with status -9" in printed
        assert '"event": "minted"' in printed, "the end of its log"
        assert (tmp_path / "demo" / "services" / "control-plane.log").exists()
        assert "Traceback" not in printed
        demo.until_nothing_is_left()


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with yurt("demo", "--config", "nowhere.toml", cwd=tmp_path) as demo:
        assert demo.ended() == 2
        assert "there is no nowhere.toml" in demo.output()


def test_a_configuration_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yurt.toml").write_text(
        '[pipelines.a]\ninput = "s3://photos-in/"\noutput = "s3://photos-out/"\n'
        'handler = "command"\noptions = { argv = ["cp", "{input}", "{output}/a"] }\n'
    )
    with yurt("demo", "--config", "yurt.toml", cwd=tmp_path) as demo:
        assert demo.ended() == 2
        assert 'the demo needs a pipeline with handler = "photo"' in demo.output()
