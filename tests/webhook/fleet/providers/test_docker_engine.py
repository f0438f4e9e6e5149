"""Calls of a container engine: what is wrong is said in words, and no answer is read without a limit."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.tls_server import TlsServer
from tests.webhook.fleet.providers.canned_engine import VERSION, canned_engine
from webhook.fleet.providers.docker_engine import ANSWER_BYTES, DockerEngine, EngineError
from webhook.provider_settings import DockerSettings


def at(host: str, **fields: Any) -> DockerEngine:
    return DockerEngine(DockerSettings(kind="docker", image="yurt", host=host, **fields))


@pytest.mark.parametrize(
    ("about", "name", "asked"),
    [
        ({}, "Docker 24.0.7", "v1.43"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.44"}, "Docker 24.0.7", "v1.47"),
        ({"Version": "5.4.0", "Components": [{"Name": "Podman Engine"}]}, "Podman 5.4.0", "v1.43"),
    ],
)
async def test_an_engine_is_asked_in_a_version_that_both_speak(about: dict[str, Any], name: str, asked: str) -> None:
    async with canned_engine() as canned:
        canned.answers = {"GET /version": (200, {**VERSION, **about}), "GET /info": (200, {"NCPU": 2})}
        engine = at(canned.host)
        assert await engine.get("/info") == {"NCPU": 2}
        assert (await engine.version()).name == name
        assert canned.requests == ["GET /version", f"GET /{asked}/info"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {**VERSION, "ApiVersion": "1.39"}, "speaks API 1.24 to 1.39, Yurt 1.40 to 1.47"),
        (200, {**VERSION, "MinAPIVersion": "1.60", "ApiVersion": "1.61"}, "speaks API 1.60 to 1.61"),
        (200, {**VERSION, "ApiVersion": "new"}, "is no container engine"),
        (200, ["a", "list"], "is no container engine"),
        (200, b"<html>", "the engine's answer is no JSON"),
        (404, b"nothing here", "is no container engine: it answered /version with 404"),
    ],
)
async def test_what_is_no_engine_or_another_version_is_named(status: int, body: object, said: str) -> None:
    async with canned_engine() as canned:
        canned.answers = {"GET /version": (status, body)}
        with pytest.raises(EngineError, match=said):
            await at(canned.host).get("/info")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "no such\ncontainer"}, "^no such container$"),
        ({"message": "x" * 10_000}, "^x{400}$"),
        (b"x" * 100_000, "^status 404$"),
        ([1], "^status 404$"),
    ],
)
async def test_an_engines_message_is_shown_up_to_a_limit(body: object, said: str) -> None:
    async with canned_engine() as canned:
        canned.answers["GET /info"] = (404, body)
        with pytest.raises(EngineError, match=said) as raised:
            await at(canned.host).get("/info")
        assert (raised.value.status, raised.value.retry) == (404, False)


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with canned_engine() as canned:
        canned.answers["GET /info"] = (200, b"1" * (ANSWER_BYTES + 1))
        with pytest.raises(EngineError, match="more than is read"):
            await at(canned.host).get("/info")


@pytest.mark.parametrize("held", ["GET /info", "GET /version"])
async def test_an_engine_that_hangs_is_given_up(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.fleet.providers.docker_engine.CALL_SECONDS", 0.1)
    async with canned_engine() as canned:
        canned.held[held] = asyncio.Event()
        with pytest.raises(EngineError, match="did not answer GET /") as raised:
            await at(canned.host).call("GET", "/info", seconds=0.1)
        assert raised.value.retry


async def test_an_engine_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"does not exist.*is the engine running"):
        await at(f"unix://{tmp_path}/none.sock").get("/info")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EngineError, match="was not reached: the connection is refused"):
        await at(f"tcp://127.0.0.1:{port}").get("/info")


async def test_an_engine_behind_tls_is_shown_the_client_certificate(tmp_path: Path) -> None:
    async with canned_engine() as canned:
        canned.answers["GET /info"] = (200, {"NCPU": 2})
        with TlsServer(tmp_path, canned.port, asks_clients=True) as server:
            ours = {"cert": str(server.certificate), "key": str(server.certificate)}
            assert await at(server.url, ca=str(server.authority), **ours).get("/info") == {"NCPU": 2}
            with pytest.raises(EngineError, match="was not reached"):
                await at(server.url, ca=str(server.authority)).get("/info")
            with pytest.raises(EngineError, match="certificate is not trusted"):
                await at(server.url, **ours).get("/info")
            with pytest.raises(EngineError, match="or a certificate for it"):
                await at(server.url, ca=str(tmp_path / "none.pem")).get("/info")


@pytest.mark.parametrize("updated", [True, False])
async def test_an_engine_that_was_replaced_is_asked_anew(updated: bool) -> None:
    async with canned_engine() as canned:
        engine = at(canned.host)
        await engine.version()
        if updated:
            canned.answers["GET /info"] = (400, {"message": "client version 1.43 is too old"})
        else:
            canned.held["GET /info"] = asyncio.Event()
        with pytest.raises(EngineError, match=r"did not answer|too old"):
            await engine.call("GET", "/info", seconds=1 if updated else 0.1)
        canned.answers |= {"GET /version": (200, {**VERSION, "ApiVersion": "1.41"}), "GET /networks": (200, [])}
        await engine.get("/networks")
        assert canned.requests[-1] == "GET /v1.41/networks"
