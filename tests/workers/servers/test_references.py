"""Servers read inputs and put outputs by URLs of one job, within its limits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from workers.protocol import MAX_OUTPUTS
from workers.servers.references import References

CONTENT = os.urandom(3 << 20)
LIMIT = 1 << 20


@asynccontextmanager
async def offered(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str, Path]]:
    """A client, the URL of a job and its output folder."""
    source, output = folder / "input", folder / "output"
    source.write_bytes(CONTENT)
    output.mkdir()
    async with References().serving() as references, httpx.AsyncClient(trust_env=False) as http:
        with references.offered(source, output, LIMIT) as url:
            yield http, url, output


async def test_the_input_is_read_whole_in_ranges_and_by_head(tmp_path: Path) -> None:
    async with offered(tmp_path) as (http, url, _):
        assert (await http.get(f"{url}input")).content == CONTENT
        assert int((await http.head(f"{url}input")).headers["content-length"]) == len(CONTENT)
        for asked, expected in (("bytes=5-9", CONTENT[5:10]), (f"bytes={len(CONTENT) - 2}-", CONTENT[-2:])):
            answer = await http.get(f"{url}input", headers={"range": asked})
            assert (answer.status_code, answer.content) == (206, expected)
        assert (await http.get(f"{url}input", headers={"range": f"bytes={len(CONTENT)}-"})).status_code == 416


async def test_outputs_are_put_and_may_be_put_again(tmp_path: Path) -> None:
    async with offered(tmp_path) as (http, url, output):
        for content in (b"first", b"second"):
            assert (await http.put(f"{url}output/a.png", content=content)).status_code == 201
        assert (output / "a.png").read_bytes() == b"second"
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("put-")] == []


async def test_outputs_have_limits_of_size_and_number(tmp_path: Path) -> None:
    async with offered(tmp_path) as (http, url, output):
        assert (await http.put(f"{url}output/big", content=b"x" * (LIMIT + 1))).status_code == 413
        assert (await http.put(f"{url}output/half", content=b"x" * (LIMIT // 2 + 1))).status_code == 201
        assert (await http.put(f"{url}output/other", content=b"x" * (LIMIT // 2))).status_code == 413
        for number in range(MAX_OUTPUTS - 1):
            assert (await http.put(f"{url}output/n{number}", content=b"")).status_code == 201
        assert (await http.put(f"{url}output/one-more", content=b"")).status_code == 413
        assert not {"big", "other", "one-more"} & {entry.name for entry in output.iterdir()}


@pytest.mark.parametrize("path", ["output/../x", "output/.hidden", "output/a/b", "output/", "other", ""])
async def test_nothing_else_can_be_reached(tmp_path: Path, path: str) -> None:
    async with offered(tmp_path) as (http, url, _):
        request = httpx.Request("PUT", url, content=b"x")
        request.url = request.url.copy_with(raw_path=request.url.raw_path + path.encode())
        assert (await http.send(request)).status_code == 404


async def test_a_job_that_has_ended_or_was_never_is_unknown(tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_bytes(b"x")
    async with References().serving() as references, httpx.AsyncClient(trust_env=False) as http:
        with references.offered(source, tmp_path, LIMIT) as url:
            other = url.replace(url.split("/")[3], "A" * 32)
            assert (await http.get(f"{other}input")).status_code == 404
        assert (await http.get(f"{url}input")).status_code == 404
