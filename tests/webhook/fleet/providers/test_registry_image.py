"""A registry is asked whether it would give an image out, with and without credentials."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infra.market.exchange import ApiRequest, Reply, read_request, written
from tests.stream_server import stream_server
from tests.webhook.fleet.providers.image_registry import PASSWORD, USERNAME, image_registry
from webhook.fleet.providers.registry_image import RegistryImage, RegistryLogin, image_finding, node_image_finding

LOGIN = RegistryLogin(USERNAME, PASSWORD)


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("yurt", "https://registry-1.docker.io/v2/library/yurt/manifests/latest"),
        ("you/yurt:0.2", "https://registry-1.docker.io/v2/you/yurt/manifests/0.2"),
        ("docker.io/you/yurt", "https://registry-1.docker.io/v2/you/yurt/manifests/latest"),
        ("ghcr.io/you/yurt:1@sha256:ab", "https://ghcr.io/v2/you/yurt/manifests/sha256:ab"),
        ("localhost:5000/yurt:1", "http://localhost:5000/v2/yurt/manifests/1"),
    ],
)
def test_an_image_is_found_at_its_registry(image: str, url: str) -> None:
    assert RegistryImage.read(image).url == url


async def test_an_image_that_may_be_pulled_is_there_and_another_one_is_not() -> None:
    with image_registry() as registry:
        there = await image_finding(registry.image, LOGIN)
        assert (there.ok, there.message) == (True, f"{registry.image} is there")
        missing = await image_finding(f"{registry.image[:-1]}2", LOGIN)
        assert (missing.ok, missing.message) == (False, f"{registry.image[:-1]}2 does not exist")
        for login in (None, RegistryLogin(USERNAME, "wrong")):
            refused = await image_finding(registry.image, login)
            assert (refused.ok, "image_login" in refused.hint) == (False, True)
        assert registry.pulls == []


@asynccontextmanager
async def token_registry(*, realm: str = "", token: object = "t0ken") -> AsyncIterator[tuple[str, list[ApiRequest]]]:
    """A registry that wants a token, which it gives itself unless ``realm`` is elsewhere, and what it was asked."""
    asked: list[ApiRequest] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        asked.append(request)
        writer.write(written(answer(request)))

    def answer(request: ApiRequest) -> Reply:
        if request.path == "/token":
            return Reply(200, {"token": token})
        if request.headers.get("authorization") == "Bearer t0ken":
            return Reply(200 if request.path.endswith("/1") else 404)
        challenge = (
            f'Bearer realm="{realm or f"http://127.0.0.1:{port}/token"}",service="s",scope="repository:yurt:pull"'
        )
        return Reply(401, headers={"WWW-Authenticate": challenge})

    async with stream_server(serve) as port:
        yield f"127.0.0.1:{port}/yurt", asked


async def test_a_token_is_asked_for_where_the_registry_wants_one() -> None:
    async with token_registry() as (image, asked):
        assert (await image_finding(f"{image}:1", None)).message == f"{image}:1 is there"
        assert asked[1].query == {"service": "s", "scope": "repository:yurt:pull"}
        assert "authorization" not in asked[1].headers
        missing = await image_finding(f"{image}:2", LOGIN)
        assert (missing.ok, missing.message) == (False, f"{image}:2 does not exist")
        credentials = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        assert asked[4].headers["authorization"] == f"Basic {credentials}"


@pytest.mark.parametrize("token", ["", None, 7, "a\nb", "x" * 100_000])
async def test_what_is_no_token_is_none(token: object) -> None:
    async with token_registry(token=token) as (image, asked):
        assert (await image_finding(f"{image}:1", LOGIN)).message == f"{image}:1 may not be pulled"
        assert len(asked) == 2


@pytest.mark.parametrize("realm", ["http://registry.example.com/token", "file:///etc/passwd", "x"])
async def test_credentials_do_not_go_where_they_could_be_read(realm: str) -> None:
    async with token_registry(realm=realm) as (image, asked):
        assert (await image_finding(f"{image}:1", LOGIN)).message == f"{image}:1 may not be pulled"
        assert len(asked) == 1


async def test_a_registry_that_cannot_be_asked_is_no_fault() -> None:
    found = await image_finding("127.0.0.1:1/yurt:1", LOGIN)
    assert (found.ok, "is not known" in found.message) == (True, True)


async def test_nodes_may_pull_what_not_everybody_may() -> None:
    async with token_registry() as (image, _):
        assert (await node_image_finding(f"{image}:1")).message == f"{image}:1 is there"
        for unknown in (f"{image}:2", "127.0.0.1:1/yurt:1"):
            found = await node_image_finding(unknown)
            assert (found.ok, found.message) == (True, f"whether {unknown} is there is not known: nodes pull it")


async def test_what_names_no_registry_is_a_fault() -> None:
    found = await image_finding("127.0.0.1:99999/yurt:1", LOGIN)
    assert (found.ok, "names no registry: Port out of range" in found.message) == (False, True)


def test_a_password_is_not_shown() -> None:
    assert PASSWORD not in repr(LOGIN)
