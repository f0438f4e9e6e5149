"""``yurt logs``: what runs printed. What it shows of functions is tested beside ``yurt run``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.polling import until
from tests.webhook.plane import ADMIN, RunningPlane, control_plane
from tests.webhook.settlements import settle
from webhook.cli.client import ControlPlaneRefused
from webhook.cli.logs import FollowedLogs, show_new

COMMAND = [sys.executable, "-m", "webhook", "logs"]


def environment(plane: RunningPlane) -> Mapping[str, str]:
    return os.environ | {"YURT_ADMIN_TOKEN": ADMIN, "YURT_URL": plane.url, "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
async def test_they_are_followed(postgres_dsn: str, tmp_path: Path) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await settle(plane, worker, "a.jpg", log="of a")
        printed = tmp_path / "printed"
        with (
            printed.open("wb") as output,
            subprocess.Popen([*COMMAND, "-f", "photos"], env=environment(plane), stdout=output) as process,
            contextlib.ExitStack() as stack,
        ):
            stack.callback(process.kill)
            await until(lambda: "of a" in printed.read_text(), seconds=30)
            await settle(plane, worker, "b.jpg", log="of b", reason="crashed", retry=True)
            await until(lambda: "of b" in printed.read_text(), seconds=30)
        assert "b.jpg  crashed, may be tried again" in printed.read_text()
        assert printed.read_text().count("of a") == 1


async def test_more_than_a_page_between_two_looks_is_followed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        followed = FollowedLogs(plane.url, ADMIN, "photos", failed=False, page=3)
        given = [run["key"] for run in await asyncio.to_thread(followed.newest)]
        for number in range(8):
            await settle(plane, worker, f"{number}.jpg", log=f"{number}")
            if number in (1, 7):
                pages = await asyncio.to_thread(lambda: list(followed.new()))
                given += [run["key"] for page in pages for run in page]
        assert given == [f"{number}.jpg" for number in range(8)]


async def test_a_smaller_id_that_shows_later_is_followed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        followed = FollowedLogs(plane.url, ADMIN, "photos", failed=False)
        await asyncio.to_thread(followed.newest)
        worker, given = await plane.worker(), []
        for id in (5, 4, 6):
            await plane.sql(f"alter table run_logs alter column id restart with {id}")
            await settle(plane, worker, f"{id}.jpg", log="printed")
            pages = await asyncio.to_thread(lambda: list(followed.new()))
            given += [run["key"] for page in pages for run in page]
        assert given == ["5.jpg", "4.jpg", "6.jpg"]


async def test_following_ends_where_the_token_is_refused(postgres_dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with control_plane(postgres_dsn) as plane:
        with pytest.raises(ControlPlaneRefused, match="answered 401"):
            await asyncio.to_thread(show_new, FollowedLogs(plane.url, "x" * 40, "photos", failed=False), False)
        url = plane.url
    show_new(FollowedLogs(url, ADMIN, "photos", failed=False), as_json=False)
    assert "waiting: no control plane answers" in capsys.readouterr().err


@pytest.mark.slow
async def test_the_last_ones_that_failed_as_json(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        for number in range(3):
            await settle(plane, worker, f"{number}.jpg", log=f"{number}", reason="crashed", retry=False)
        await settle(plane, worker, "done.jpg", log="printed")
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "photos", "--failed", "--last=2", "--json", env=environment(plane), stdout=subprocess.PIPE
        )
        printed, _ = await process.communicate()
        runs = [json.loads(line) for line in printed.splitlines()]
        assert [(run["key"], run["log"], run["outcome"]) for run in runs] == [
            ("1.jpg", "1", "failed"), ("2.jpg", "2", "failed"),
        ]  # fmt: skip
