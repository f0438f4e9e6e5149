"""One request for each file, through the sandbox and its jail, to a server that a worker runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.sandbox.jobs import JobFolder, limits, sandbox
from tests.workers.servers.running import stand_in
from workers import protocol
from workers.handlers import HandlerError
from workers.handlers.http.handler import LONGEST_WAIT_SECONDS, pause_seconds
from workers.sandbox.pool import Sandbox
from workers.servers.all_servers import HandlerServers
from workers.servers.references import References
from workers.servers.served_job import served as served_job

CONTENT = os.urandom(200_000)


class ServedJobs:
    """A server, and a pool whose jobs ask it."""

    def __init__(self, servers: HandlerServers, references: References, pool: Sandbox, folder: JobFolder) -> None:
        self._servers = servers
        self._references = references
        self._pool = pool
        self._folder = folder
        self.options = stand_in()

    async def made(
        self, key: str = "uploads/a.jpg", limited: dict[str, float] | None = None, **options: Any
    ) -> dict[str, bytes]:
        """The outputs of a job, by name."""
        given = {**self.options, **options}
        handler = protocol.Handler(kind="http", options=given, limits=limits(**(limited or {})))
        job = replace(self._folder.job(CONTENT, key), options=given)
        async with served_job(handler, job, self._servers, self._references) as with_url, self._pool.child() as child:
            with await child.run(handler, with_url) as result:
                return {output.file.name: output.content.read() for output in result.outputs}

    async def failure(self, **more: Any) -> HandlerError:
        """The error of a job that fails."""
        with pytest.raises(HandlerError) as caught:
            await self.made(**more)
        return caught.value


@asynccontextmanager
async def served(folder: JobFolder) -> AsyncIterator[ServedJobs]:
    """Jobs of one server. All of it ends with the block."""
    folder_of_servers = folder.path / "servers"
    folder_of_servers.mkdir()
    servers = HandlerServers(folder_of_servers, None)
    async with References().serving() as references, sandbox() as pool:
        try:
            yield ServedJobs(servers, references, pool, folder)
        finally:
            await servers.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


async def test_the_file_is_sent_and_the_answer_is_the_output(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        assert await jobs.made(headers={"X-Type": "image/webp"}) == {"output.webp": CONTENT}
        form = (await jobs.made(body="form", field="photo"))["output.bin"]
        assert b'name="photo"' in form
        assert CONTENT in form


async def test_the_presets_send_the_files_url_and_take_their_answers(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        own = {name: jobs.options[name] for name in ("command", "port", "ready", "ready_status", "start_seconds")}
        jobs.options = {**own, "preset": "cog"}
        assert await jobs.made() == {"output-0.png": CONTENT[::-1]}
        jobs.options = {**own, "preset": "openai", "prompt": "How long?", "model": "m"}
        assert await jobs.made(name="caption") == {"caption.txt": b"m: How long? 200000 bytes"}


async def test_a_prediction_that_cog_calls_failed_is_an_error_of_the_server(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        error = await jobs.failure(preset="cog", path="/failed-predictions", answer="output")
        assert (error.reason, error.retry) == ("server-error", True)
        assert "CUDA out of memory" in error.message


async def test_results_are_put_to_urls_of_outputs(folder: JobFolder) -> None:
    template = {"a.png": "{output_url:a.png}", "b.json": "{output_url:b.json}"}
    async with served(folder) as jobs:
        made = await jobs.made(body="json", path="/put", template=template)
        assert made == {"a.png": b"made a.png", "b.json": b"made b.json"}


async def test_keys_stand_encoded_in_paths_and_headers(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        made = await jobs.made("ü &?/\r\nX: y.jpg", path="/headers?key={key}", headers={"X-Key": "{key}"}, answer="key")
        assert made == {"output.txt": b"%C3%BC %26%3F/%0D%0AX%3A y.jpg"}


async def test_a_busy_server_is_asked_again_within_the_jobs_time(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        assert list(await jobs.made(path="/busy")) == ["output.json"]
        jobs.options = stand_in(path="/busy")
        await jobs.made(path="/busy")


async def test_409_is_how_cog_is_busy_and_how_others_refuse_a_file(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        assert (await jobs.failure(path="/busy-predictions")).reason == "server-refused"
        assert await jobs.made(preset="cog", path="/busy-predictions", answer="output") == {"output.txt": b"done"}


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, 2),
        ("soon", 2),
        ("0", 0.1),
        ("7", 7),
        ("9000", LONGEST_WAIT_SECONDS),
        ("Wed, 04 Mar 2020 12:00:00 GMT", 0.1),
        ("Wed, 04 Mar 2120 12:00:00 GMT", LONGEST_WAIT_SECONDS),
    ],
)
def test_a_busy_server_says_in_seconds_or_by_a_date_when_it_is_to_be_asked_again(
    retry_after: str | None, seconds: float
) -> None:
    assert pause_seconds(retry_after) == seconds


@pytest.mark.parametrize(
    ("path", "reason", "retry", "said"),
    [
        ("/refuse", "server-refused", False, "no face in it"),
        ("/fail", "server-error", True, "answered 500"),
        ("/redirect", "server-refused", False, "Redirects are not followed"),
        ("/nonsense", "server-answer", True, "is none"),
        ("/short", "server-gone", True, "IncompleteRead"),
        ("/die", "server-gone", True, "ended the connection"),
    ],
)
async def test_each_failure_of_a_server_means_something_of_its_own(
    folder: JobFolder, path: str, reason: str, retry: bool, said: str
) -> None:
    async with served(folder) as jobs:
        error = await jobs.failure(path=path)
        assert (error.reason, error.retry) == (reason, retry)
        assert said in error.message


async def test_an_answer_without_end_and_one_that_never_comes_are_ended_by_the_jobs_limits(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        assert (await jobs.failure(path="/endless", limited={"output_bytes": 5 << 20})).reason == "output-too-large"
        assert (await jobs.failure(path="/hang", limited={"wall_seconds": 1})).reason == "timeout"


async def test_an_answer_without_the_result_says_where_it_ends(folder: JobFolder) -> None:
    async with served(folder) as jobs:
        error = await jobs.failure(path="/headers", answer="key.0.text")
        assert "has no key.0.text: it has none at '0'" in error.message
