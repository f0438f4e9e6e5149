"""A process ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.workers.processes import alive
from workers.parent_death import ENVIRONMENT

ROOT = Path(__file__).parents[2]
CHILD = """
import os, sys, time
from workers import parent_death
parent_death.watch()
print(os.environ.get(parent_death.ENVIRONMENT, "removed"), flush=True)
time.sleep(3600)
"""
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(3600)
"""


def child(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_child_ends_when_its_parent_is_killed() -> None:
    environment = os.environ | {ENVIRONMENT: "stdin"}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_until(lambda: not alive(pid))


@pytest.mark.parametrize("watched", [True, False])
def test_only_a_child_with_the_variable_watches_its_input(watched: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT}
    with child(environment | ({ENVIRONMENT: "stdin"} if watched else {})) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "removed\n"
        process.stdin.close()
        if watched:
            assert process.wait(60) == -signal.SIGTERM
        else:
            assert process.poll() is None
            process.kill()
