"""The short form of ``make chaos``: a minute of the same, with every kind of kill and fault at least once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.plan import DEEDS
from tests.processes import Command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 400.0


@pytest.mark.timeout(500)
def test_nothing_is_lost_and_nothing_stale_while_everything_is_killed(tmp_path: Path) -> None:
    run = start(tmp_path, "--uploads", "300", "--minutes", "0.5", "--faults", "44", "--seed", "11")
    try:
        until(run, lambda: run.process.poll() is not None)
        assert run.process.returncode == 0, run.output()
        assert run.left() == []
    finally:
        end(run)
    said = "".join(run.out)
    assert number("uploads", said) >= 300
    assert number("kills and faults", said) >= 25
    for deed in DEEDS:
        group, _, kind = deed.partition("-")
        line = next(line for line in joined(said) if line.startswith({"store": "store faults"}.get(group, group)))
        assert re.search(rf"\b{kind} [1-9]", line), f"{deed} never happened: {line}"
    for wrong in ("lost", "stale", "unsettled", "otherwise wrong"):
        assert number(wrong, said) == 0
    assert list(tmp_path.iterdir()) == [], "it kept its folder"


@pytest.mark.timeout(240)
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    run = start(tmp_path, "--uploads", "300", "--minutes", "2", "--faults", "100", "--seed", "12")
    try:
        until(run, lambda: re.search(r"struck [1-9].*(done|leased) [1-9]", run.output()))
        run.process.send_signal(signal.SIGINT)
        until(run, lambda: run.process.poll() is not None)
        assert run.process.returncode == 130, run.output()
        assert run.left() == []
        assert "Traceback" not in run.output()
    finally:
        end(run)
    assert list(tmp_path.iterdir()) == []


def start(folder: Path, *options: str) -> Command:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--folder", str(folder), *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    return Command(process)


def until(run: Command, reached: Callable[[], object]) -> None:
    """Wait until it is so, noting every process that comes to be."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        run.note_descendants()
        assert time.monotonic() < deadline, run.output()
        time.sleep(0.2)


def end(run: Command) -> None:
    if run.process.poll() is None:
        run.process.kill()
    run.process.wait()
    for stream in (run.process.stdout, run.process.stderr):
        assert stream
        stream.close()


def joined(table: str) -> list[str]:
    """The table's rows, those that were too long for one line put together again."""
    return re.sub(r"\s*\n {2,}", " ", table).splitlines()


def number(row: str, table: str) -> int:
    """The first number of a row."""
    line = next(line for line in joined(table) if line.startswith(row))
    return int(re.findall(r"\d+", line.removeprefix(row))[0])
