"""What a child loads before it is ready."""

from __future__ import annotations

import subprocess
import sys

from tests.workers.sandbox.jobs import ROOT

LOADED = "import sys, workers.sandbox.child.__main__; print(*sys.modules)"


def test_a_child_loads_neither_asyncio_nor_the_protocol() -> None:
    """Both would make every replacement of a crashed child slower."""
    loaded = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, check=True, capture_output=True, text=True)
    modules = set(loaded.stdout.split())
    assert "workers.sandbox.messages" in modules
    assert not modules & {"asyncio", "workers.protocol", "workers.sandbox.pool"}
