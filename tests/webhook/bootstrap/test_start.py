"""A container's start command, run by a Python that has nothing installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import pyvips

from tests.infra.local.running import RunningBucket
from tests.polling import until
from tests.webhook.bootstrap.bare_python import BarePython, bare
from tests.webhook.bootstrap.parts_server import TOKEN, PartsServer, status, tiny_wheel
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane, event
from webhook.bootstrap.start_command import start_command

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> BarePython:
    return bare(tmp_path_factory.mktemp("image"), pip=False)


@pytest.mark.slow
async def test_any_image_with_python_processes_photos(
    postgres_dsn: str, store: RunningBucket, python: BarePython, tmp_path: Path
) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint) as plane:
        token = await plane.invite()
        async with python.started(plane.url, token, YURT_WORK_DIR=str(tmp_path / "work")) as process:
            photo = pyvips.Image.black(640, 480, bands=3).write_to_buffer(".jpg")
            etag = buckets.s3.put_object(Bucket=buckets.inputs, Key="a.jpg", Body=photo)["ETag"].strip('"')
            await plane.notify(event("a.jpg", bucket=buckets.inputs, eTag=etag, size=len(photo)))
            await until(lambda: {"a.jpg/result.json"} <= buckets.keys(), seconds=200, pause_seconds=0.5)
            command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            assert command_line[1:4] == [b"-P", b"-m", b"workers"]
            process.terminate()
            _, log = await asyncio.wait_for(process.communicate(), 60)
            assert (process.returncode, token in log.decode()) == (0, False), log


async def test_the_command_line_has_no_secret(python: BarePython) -> None:
    server = PartsServer(first=[status(503)] * 10_000)
    async with server.serving() as url, python.started(url, TOKEN) as process:
        await until(lambda: server.requests)
        shown = Path(f"/proc/{process.pid}/cmdline").read_text()
    assert "v1/bootstrap" in shown
    assert TOKEN not in shown
    assert url not in shown


async def test_a_token_that_is_unknown_is_refused(postgres_dsn: str, python: BarePython) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        code, log = await python.ended(plane.url, "x" * 43)
        assert (code, log) == (1, "yurt bootstrap: the control plane does not give the script: HTTP 401\n")


async def test_a_control_plane_that_is_not_there_is_named(python: BarePython) -> None:
    code, log = await python.ended(NOWHERE, TOKEN, YURT_BOOTSTRAP_SECONDS="0.1")
    assert (code, log) == (1, "yurt bootstrap: the control plane cannot be reached: ConnectionRefusedError\n")


async def test_a_control_plane_that_starts_is_waited_for(python: BarePython) -> None:
    server = PartsServer(first=[status(503), status(502)])
    server.parts["script"] = b"def main(fetch): raise SystemExit('it runs')"
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN)
    assert (code, log, len(server.requests)) == (1, "it runs\n", 3)


@pytest.mark.parametrize("part", ["script", "wheel", "requirements"])
async def test_what_was_changed_on_the_way_is_not_used(part: str, python: BarePython) -> None:
    server = PartsServer(digests={part: "A" * 43 + "="})
    server.parts["wheel"] = tiny_wheel("")
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN)
    assert (code, log) == (1, f"yurt bootstrap: the digest of the {part} is wrong: it was changed on the way\n")


async def test_a_redirect_gets_no_token(python: BarePython) -> None:
    elsewhere = PartsServer()
    async with elsewhere.serving() as other:
        server = PartsServer(first=[status(302, {"location": f"{other}/v1/bootstrap/script"})])
        async with server.serving() as url:
            code, log = await python.ended(url, TOKEN)
    assert (code, log) == (1, "yurt bootstrap: the control plane does not give the script: HTTP 302\n")
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"YURT_URL": "http://192.0.2.1"}, "YURT_URL is plain http:// to another machine"),
        ({"YURT_URL": ""}, "YURT_URL is missing"),
        ({"YURT_TOKEN": ""}, "YURT_TOKEN is missing"),
    ],
)
async def test_a_wrong_environment_is_said_in_one_line(
    variables: dict[str, str], said: str, python: BarePython
) -> None:
    given = {"YURT_URL": NOWHERE, "YURT_TOKEN": TOKEN, **variables}
    code, log = await python.ended(given["YURT_URL"], given["YURT_TOKEN"])
    assert (code, log.count("\n"), log.startswith(f"yurt bootstrap: {said}")) == (1, 1, True), log


async def test_an_old_python_is_told_to_be_too_old(python: BarePython) -> None:
    text = f"import sys; sys.version_info, sys.version = (3, 9, 2), '3.9.2 (old)'\nexec({start_command()[2]!r})"
    code, log = await python.ended(NOWHERE, TOKEN, ("python3", "-c", text))
    assert (code, log) == (1, "yurt bootstrap: Python 3.11 or newer is needed, this image's python3 is 3.9.2\n")


async def test_a_signal_ends_it(python: BarePython) -> None:
    server = PartsServer(first=[status(503)] * 10_000)
    async with server.serving() as url, python.started(url, TOKEN) as process:
        await until(lambda: server.requests)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 143
