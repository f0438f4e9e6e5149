"""``yurt run``: arguments from the command line, here and on a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.yurt.deployed import deployed, written

CODE = """
import yurt
@yurt.function
def count(photo: yurt.File, times: int = 1, label: str = ""):
    print("counts", photo.key)
    if times == 0:
        raise ValueError("none at all")
    return {"bytes": len(photo.read_bytes()) * times, "key": photo.key, "label": label}
"""


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name.startswith("YURT_") or name == "PATH"}
    command = [sys.executable, "-m", "webhook", "run", *argv]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.jpg").write_bytes(b"12345")
    return tmp_path


def test_a_function_runs_here(folder: Path) -> None:
    written(folder, CODE)
    done = run(folder, "app.py::count", "cat.jpg", "2", "label=a b", "--local")
    assert json.loads(done.stdout) == {"bytes": 10, "key": "cat.jpg", "label": "a b"}, done.stderr
    assert "counts cat.jpg" in done.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["app.py"], "write it as app.py::caption"),
        (["app.py::other", "cat.jpg"], "has no function other (it has: count)"),
        (["app.py::count", "none.jpg"], "none.jpg is no file"),
        (["none.py::count", "cat.jpg"], "is no Python file"),
        (["app.py::count", "--local"], "missing 1 required positional argument"),
        (["app.py::count", "cat.jpg", "0", "--local"], "none at all"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(argv: list[str], message: str, folder: Path) -> None:
    written(folder, CODE)
    done = run(folder, *argv)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_function_runs_on_a_worker_and_its_failures_are_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with deployed(CODE, folder, monkeypatch):
        done = run(folder, "app.py::count", "cat.jpg", "3")
        assert json.loads(done.stdout) == {"bytes": 15, "key": "cat.jpg", "label": ""}, done.stderr
        done = run(folder, "app.py::count", "cat.jpg", "0")
        assert (done.returncode, 'raise ValueError("none at all")' in done.stderr) == (1, True)
        command = [sys.executable, "-m", "webhook", "logs", "count"]
        logs = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "count-calls" in logs
        assert logs.count("counts cat.jpg") == 2, "of the run that succeeded too"
        assert "ValueError: none at all" in logs
        only = [*command, "--failed", "--json"]
        lines = subprocess.run(only, capture_output=True, text=True, timeout=60, check=True).stdout
        assert [json.loads(line)["reason"] for line in lines.splitlines()] == ["function-error"]
        unknown = subprocess.run([*command[:-1], "cuont"], capture_output=True, text=True, timeout=60, check=False)
        assert (unknown.returncode, "no pipeline or function of that name" in unknown.stderr) == (1, True)
