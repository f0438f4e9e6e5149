"""Children end with their agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import ROOT

AGENT = """
import asyncio, sys
from pathlib import Path
from tests.workers.sandbox.jobs import python, run, sandbox
from workers.handlers import Job

async def main():
    folder = Path(sys.argv[1])
    async with sandbox() as pool:
        await run(pool, python(sys.argv[2]), Job(folder, folder, "key", "etag", {}))

asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["lose_lock", "fork_bomb"])
async def test_children_die_with_a_killed_agent(tmp_path: Path, handler: str) -> None:
    """Also inside a C call that holds the interpreter's lock, and with all that they started."""
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path), handler], cwd=ROOT)
    files = {"lose_lock": ("pid", 1), "fork_bomb": ("pids", 64)}
    name, count = files[handler]
    try:
        await until(lambda: (tmp_path / name).exists() and len((tmp_path / name).read_text().split()) == count)
    finally:
        agent.kill()
        agent.wait()
    await until(lambda: not any(alive(int(pid)) for pid in (tmp_path / name).read_text().split()))
