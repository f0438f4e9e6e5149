from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLOSED = "from workers.private_process import close_to_others, is_closed\nclose_to_others()\nprint(is_closed())\n"
AT_EXIT = """import atexit, runpy, sys
from workers.private_process import is_closed
atexit.register(lambda: print(is_closed()))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux closes a process to its own user")


def printed(code: str) -> list[str]:
    """The words that a Python program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


def test_a_closed_process_leaves_no_core_file() -> None:
    assert printed(f"{CLOSED}import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])") == ["True", "0"]


def test_a_fork_of_it_is_closed_and_a_program_that_it_runs_is_open() -> None:
    fork = "import os, sys\nsys.stdout.flush()\nif os.fork():\n    os.wait()\nelse:\n    print(is_closed())\n"
    assert printed(CLOSED + fork) == ["True", "True"]
    asks = "from workers.private_process import is_closed; print(is_closed())"
    program = f"import subprocess, sys\nsys.stdout.flush()\nsubprocess.run([sys.executable, '-c', {asks!r}])\n"
    assert printed(CLOSED + program) == ["True", "False"]


@pytest.mark.parametrize(
    "program",
    [
        "from webhook.cli import main; main(['serve', '--config', 'nowhere.toml'])",
        "from webhook.cli import main; main(['up', '--config', 'nowhere.toml'])",
        "from webhook.cli import main; main(['status'])",
        "from workers.agent import main; main()",
        "sys.argv = ['bucket', '--no-such-option']; runpy.run_module('infra.local', run_name='__main__')",
    ],
)
def test_each_program_is_closed_before_it_can_fail_over_its_settings(program: str) -> None:
    assert printed(AT_EXIT + program)[-1] == "True"
