"""The entry point: a wrong environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.agents import agent, exit_of
from tests.workers.control_plane import (
    StubControlPlane,
)
from workers.lifecycle import Exit


@pytest.mark.parametrize(
    ("name", "value"),
    [("YURT_URL", "ftp://x"), ("YURT_TOKEN", ""), ("YURT_LOG", "xml"), ("YURT_WORK_DIR", "/dev/null/x")],
)
async def test_a_wrong_environment_is_reported_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.url = "http://127.0.0.1:1"
    async with agent(plane, tmp_path, **{name: value}) as process:
        code, log = await exit_of(process)
    assert code == Exit.SETTINGS
    assert log.startswith(f"yurt worker: {name} ")
    assert log.count("\n") == 1
