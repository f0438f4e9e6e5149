"""``--deployed``: commands that ask no control plane else know what was deployed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.webhook.plane import ADMIN, RunningPlane, configured, control_plane, pipeline

TEXTS = """
[pipelines.photos]
input = "s3://photos-in/"
output = "s3://photos-out/"
pool = "hand"
[pools.hand]
provider = "none"
"""
DEPLOYED = {
    "pools": {"rented": {"providers": ["local"]}},
    "pipelines": {
        "words": pipeline(
            "words-in", "words-out", pool="rented", handler="python", options={"function": "words:handle"}
        )
    },
}


@asynccontextmanager
async def deployed(postgres_dsn: str, folder: Path) -> AsyncIterator[RunningPlane]:
    (folder / "yurt.toml").write_text(TEXTS)
    (folder / "words.py").write_text(
        "def handle(job):\n    (job.output / 'n.txt').write_text(str(len(job.input.read_bytes().split())))\n"
    )
    async with control_plane(postgres_dsn, configured(server={"handlers": str(folder)}), loops=False) as plane:
        answer = await plane.admin("POST", "/v1/deployments", json={"app": "texts", "definitions": DEPLOYED})
        assert answer.status_code == 200, answer.text
        yield plane


async def yurt(folder: Path, plane: RunningPlane, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "YURT_URL": plane.url, "YURT_ADMIN_TOKEN": ADMIN, "COLUMNS": "200"}
    command = [sys.executable, "-m", "webhook", *argv]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return await asyncio.to_thread(run)


@pytest.mark.slow
async def test_the_offers_to_a_deployed_pool(postgres_dsn: str, tmp_path: Path) -> None:
    async with deployed(postgres_dsn, tmp_path) as plane:
        unknown = await yurt(tmp_path, plane, "offers", "rented")
        assert (unknown.returncode, "there is no pool 'rented'" in unknown.stderr) == (2, True)
        known = await yurt(tmp_path, plane, "offers", "rented", "--deployed")
        assert known.returncode == 0, known.stderr
        assert "Offers to pool rented" in known.stdout


@pytest.mark.slow
async def test_a_file_is_tried_in_a_deployed_pipeline(postgres_dsn: str, tmp_path: Path) -> None:
    async with deployed(postgres_dsn, tmp_path) as plane:
        (tmp_path / "a.txt").write_text("one two three")
        unknown = await yurt(tmp_path, plane, "try", "words", "a.txt")
        assert (unknown.returncode, "there is no pipeline 'words'" in unknown.stderr) == (2, True)
        tried = await yurt(tmp_path, plane, "try", "words", "a.txt", "--deployed", "--output", "made")
        assert tried.returncode == 0, tried.stdout + tried.stderr
        assert (tmp_path / "made" / "n.txt").read_text() == "3"


@pytest.mark.slow
async def test_what_is_deployed_is_checked_too(postgres_dsn: str, tmp_path: Path) -> None:
    async with deployed(postgres_dsn, tmp_path) as plane:
        checked = await yurt(tmp_path, plane, "check", "--deployed")
        assert "2 pipelines, 2 pools" in checked.stdout, checked.stdout + checked.stderr
        (tmp_path / "yurt.toml").write_text(TEXTS.replace("hand", "rented"))
        contradicts = await yurt(tmp_path, plane, "check", "--deployed")
        assert (contradicts.returncode, "does not hold beside this file" in contradicts.stdout) == (1, True)
        away = await yurt(tmp_path, plane, "check", "--deployed", "--url", "http://127.0.0.1:1")
        assert (away.returncode, "no control plane answers" in away.stdout) == (1, True)
