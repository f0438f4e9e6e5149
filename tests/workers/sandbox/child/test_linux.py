"""prctl(2)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workers.sandbox.jobs import ROOT

ADOPTER = """
import os
from workers.sandbox.child import linux
linux.adopt_orphans()
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:  # a grandchild, whose parent ends first
        os.read(reading, 1)
        os._exit(7)
    os._exit(0)
os.wait()
os.write(writing, b"x")
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_process_becomes_the_parent_of_orphaned_descendants() -> None:
    adopter = subprocess.run([sys.executable, "-c", ADOPTER], cwd=ROOT, check=True, capture_output=True, text=True)
    assert adopter.stdout == "7\n"
