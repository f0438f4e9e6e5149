"""``yurt try``: one file through a handler, with neither bucket nor database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
[pipelines.tables]
input = "s3://uploads/tables/"
output = "s3://results/"
handler = "python"
options = { function = "tables:count", options = { most = 2 } }
timeout_seconds = 5
lease_seconds = 5
limits = { input_bytes = 100 }
[pipelines.copies]
input = "s3://uploads/copies/"
output = "s3://copied/"
handler = "command"
options = { argv = ["./copy.sh", "{input}", "{key}"] }
"""
HANDLER = """
from workers.handlers import HandlerError, Job, OutputFile, Result

def count(job: Job) -> Result:
    print("counting", job.key)
    rows = len(job.input.read_text().splitlines())
    if rows > job.options["most"]:
        raise HandlerError("too-many-rows", f"The table has {rows} rows.")
    (job.output / "rows.json").write_text(str(rows))
    return Result((OutputFile("rows.json", "application/json"),), {"rows": rows})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder, with folders of the names of Yurt's own packages in it."""
    (tmp_path / "yurt.toml").write_text(CONFIG)
    (tmp_path / "tables.py").write_text(HANDLER)
    (tmp_path / "some.csv").write_text("a\nb\n")
    for name in ("workers", "webhook", "infra"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    return tmp_path


def tried(project: Path, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "webhook", "try", *argv]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=cwd or project, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def reported(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    trial: dict[str, Any] = json.loads(result.stdout)
    return trial


def test_outputs_log_labels_and_costs_are_shown(project: Path) -> None:
    result = tried(project, "tables", "some.csv", "--output", "tried")
    assert result.returncode == 0, result.stderr
    assert "counting tables/some.csv" in result.stdout
    assert "rows.json  1 bytes  application/json" in result.stdout
    assert 'labels  {"rows": 2}' in result.stdout
    assert (project / "tried/rows.json").read_text() == "2"


def test_json_from_another_folder(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    config, file = str(project / "yurt.toml"), str(project / "some.csv")
    result = tried(project, "tables", file, "--config", config, "--key", "k", "--json", cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    trial = reported(result)
    [output] = trial["outputs"]
    assert (Path(trial["folder"]).parent, Path(trial["folder"], output["name"]).read_text()) == (elsewhere, "2")
    assert trial["labels"] == {"rows": 2}
    assert trial["log"] == "counting k\n"
    assert 0 < trial["cpu_seconds"] < 5
    assert trial["peak_bytes"] > 1 << 20
    assert trial["limits"]["wall_seconds"] == 5


@pytest.mark.parametrize(
    ("source", "content", "reason", "retry"),
    [
        (HANDLER, "a\nb\nc\n", "too-many-rows", False),
        (HANDLER, "a" * 101, "too-large", False),
        ("def count(job:\n", "a", "unavailable", False),
        ("def count(job): 1 / 0\n", "a", "handler-error", True),
        ("import time\ndef count(job): time.sleep(600)\n", "a", "timeout", True),
    ],
)
def test_a_failure_says_what_would_become_of_the_object(
    project: Path, source: str, content: str, reason: str, retry: bool
) -> None:
    (project / "tables.py").write_text(source)
    (project / "some.csv").write_text(content)
    result = tried(project, "tables", "some.csv", "--json")
    assert result.returncode == 1
    trial = reported(result)
    assert (trial["reason"], trial["retry"], trial["outputs"]) == (reason, retry, [])
    assert not list(project.glob("try-*"))


def test_a_program_beside_the_configuration(project: Path) -> None:
    (project / "copy.sh").write_text('#!/bin/sh\ncp "$1" out.txt\n')
    assert "the pipeline would be paused" in tried(project, "copies", "some.csv").stdout
    (project / "copy.sh").chmod(0o755)
    assert tried(project, "copies", "some.csv", "--output", "out").returncode == 0
    assert (project / "out/out.txt").read_text() == "a\nb\n"


def test_what_is_wrong_with_the_command_line_is_said(project: Path) -> None:
    assert "there are: tables, copies" in tried(project, "nothing", "some.csv").stderr
    result = tried(project, "tables", "some.csv", "--output", str(project))
    assert (result.returncode, "is not empty" in result.stderr) == (2, True)


def test_models_of_the_pipeline_are_given_by_their_folders(project: Path) -> None:
    (project / "yurt.toml").write_text(
        CONFIG.replace("[pipelines.copies]", '[models.words]\nsource = "s3://models/words"\n[pipelines.copies]')
        + 'models = ["words"]\n'
    )
    (project / "copy.sh").write_text('#!/bin/sh\ncp "$3/words.txt" copied.txt\n')
    (project / "copy.sh").chmod(0o755)
    config = (project / "yurt.toml").read_text().replace('"{key}"]', '"{key}", "{model:words}"]')
    (project / "yurt.toml").write_text(config)
    (project / "words").mkdir()
    (project / "words/words.txt").write_text("weights")
    result = tried(project, "copies", "some.csv", "--model", "words=words", "--output", "out")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (project / "out/copied.txt").read_text() == "weights"
    assert "--model words=FOLDER" in tried(project, "copies", "some.csv").stderr
    for wrong in ("other=words", "words=none", "words"):
        assert "give NAME=FOLDER" in tried(project, "copies", "some.csv", "--model", wrong).stderr
