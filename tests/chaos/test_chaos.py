"""The short form of ``make chaos``: a minute of it, with every kind of kill and fault at least once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.plan import FAULT_WEIGHTS
from tests.polling import wait_until
from tests.processes import Command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 400.0


@pytest.mark.timeout(500)
def test_nothing_is_lost_and_nothing_stale_while_everything_is_killed(tmp_path: Path) -> None:
    run = start(tmp_path, "--uploads", "300", "--minutes", "0.5", "--faults", "44", "--seed", "11")
    try:
        wait_for(run, lambda: run.process.poll() is not None)
        assert run.process.returncode == 0, run.output()
        assert run.left() == []
    finally:
        end(run)
    output = "".join(run.out)
    assert number("uploads", output) >= 300
    assert number("kills and faults", output) >= 25
    for name in FAULT_WEIGHTS:
        group, _, kind = name.partition("-")
        begin = f"{group} faults" if group in ("store", "app") else group
        line = next(line for line in joined(output) if line.startswith(begin))
        assert re.search(rf"\b{kind} [1-9]", line), f"{name} never happened: {line}"
    for kind in ("lost", "stale", "unsettled", "otherwise wrong"):
        assert number(kind, output) == 0
    assert list(tmp_path.iterdir()) == [], "it kept its folder"


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    run = start(tmp_path, "--uploads", "300", "--minutes", "2", "--faults", "100", "--seed", "12")
    try:
        wait_for(run, lambda: re.search(r"faults [1-9].*(done|leased) [1-9]", run.output()))
        run.process.send_signal(signal.SIGINT)
        wait_for(run, lambda: run.process.poll() is not None)
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


def wait_for(run: Command, condition: Callable[[], object]) -> None:
    """Wait for a condition, noting every process that the command starts."""

    def reached() -> object:
        run.note_descendants()
        return condition()

    wait_until(reached, seconds=DEADLINE_SECONDS, failure=run.output, pause_seconds=0.2)


def end(run: Command) -> None:
    if run.process.poll() is None:
        run.process.kill()
    run.process.wait()
    for stream in (run.process.stdout, run.process.stderr):
        assert stream
        stream.close()


def joined(table: str) -> list[str]:
    """The table's rows, with wrapped ones joined."""
    return re.sub(r"\s*\n {2,}", " ", table).splitlines()


def number(row: str, table: str) -> int:
    """The first number of a row."""
    line = next(line for line in joined(table) if line.startswith(row))
    return int(re.findall(r"\d+", line.removeprefix(row))[0])
