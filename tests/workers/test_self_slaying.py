"""Which machines destroy themselves, and how they reach their provider's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.stream_server import stream_server
from tests.tls_server import TlsServer
from tests.webhook.fleet.providers.fake_api import FakeApi, Reply
from tests.workers.slaying_apis import MACHINE, OneInstanceApi, OnePodApi, watched
from workers.self_slaying import CannotSlayItself, OwnMachine

VAST = OneInstanceApi().variables("https://vast.example")
RUNPOD = OnePodApi().variables("https://runpod.example")


def test_a_machine_that_yurt_did_not_mint_never_destroys_itself() -> None:
    by_hand = {name: value for name, value in {**VAST, **RUNPOD}.items() if name != "YURT_SLAYS_ITSELF"}
    assert OwnMachine.take(by_hand) is None


@pytest.mark.parametrize("variables", [VAST, RUNPOD])
def test_keys_leave_the_environment_and_stay_out_of_texts(variables: dict[str, str]) -> None:
    environ = {**VAST, **RUNPOD, **variables}
    machine = OwnMachine.take(environ)
    assert machine is not None
    assert (machine.kind, machine.id) == (variables["YURT_SLAYS_ITSELF"], MACHINE)
    assert set(environ) == {"CONTAINER_ID", "RUNPOD_POD_ID"}
    assert machine.key not in repr(machine)


def test_the_apis_are_the_providers_own() -> None:
    urls = []
    for variables in (VAST, RUNPOD):
        machine = OwnMachine.take({name: value for name, value in variables.items() if name != "YURT_SLAY_URL"})
        urls += [machine.url] if machine else []
    assert urls == ["https://console.vast.ai/api/v0", "https://api.runpod.io"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"YURT_SLAYS_ITSELF": "moon"}, "YURT_SLAYS_ITSELF"),
        ({"CONTAINER_ID": ""}, "CONTAINER_ID"),
        ({"CONTAINER_ID": "1/../2"}, "CONTAINER_ID"),
        ({"CONTAINER_API_KEY": ""}, "CONTAINER_API_KEY"),
        ({"CONTAINER_API_KEY": "two words\r\n"}, "CONTAINER_API_KEY"),
        ({"YURT_SLAY_URL": "http://vast.example"}, "YURT_SLAY_URL"),
        ({"YURT_SLAY_URL": "file:///etc"}, "YURT_SLAY_URL"),
        ({"YURT_SLAY_URL": "https://[x"}, "YURT_SLAY_URL"),
    ],
)
def test_what_a_machine_cannot_use_is_named(wrong: dict[str, str], named: str) -> None:
    environ = {**VAST, **wrong}
    with pytest.raises(CannotSlayItself, match=named) as raised:
        OwnMachine.take(environ)
    assert "CONTAINER_API_KEY" not in environ
    assert OneInstanceApi.key not in str(raised.value)


async def test_a_pod_terminates_itself() -> None:
    api = OnePodApi()
    api.fault("POST", "answer", Reply(200, {"errors": [{"message": "Unauthorized"}], "data": None}))
    api.fault("POST", "answer", Reply(200, {"data": 3}))
    async with api.serving() as url, watched("", api.variables(url)) as watchdog:
        _, log = await watchdog.ended()
        assert not api.there
    assert [word in log for word in ('"failed"', '"agreed"', '"gone"', api.key)] == [True, True, True, False]


async def test_the_api_may_have_a_certificate_of_a_private_authority(tmp_path: Path) -> None:
    api = OneInstanceApi()
    async with api.serving() as url:
        with TlsServer(tmp_path, int(url.rpartition(":")[2])) as tls:
            trusting = {**api.variables(tls.url), "SSL_CERT_FILE": str(tls.authority)}
            async with watched("", trusting) as watchdog:
                await watchdog.ended()
        assert not api.there


async def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    api = OneInstanceApi()
    async with api.serving() as url:
        with TlsServer(tmp_path, int(url.rpartition(":")[2])) as tls:
            async with watched("", api.variables(tls.url), slaying_seconds=0.1) as watchdog:
                _, log = await watchdog.ended()
        assert (api.there, "its certificate is not trusted" in log) == (True, True)


async def test_a_proxy_is_used() -> None:
    async with a_proxy() as (proxy, seen):
        variables = {**OneInstanceApi().variables("https://vast.invalid"), "HTTPS_PROXY": proxy}
        async with watched("", variables, slaying_seconds=0.1) as watchdog:
            await watchdog.ended()
    assert seen[0].startswith("CONNECT vast.invalid:443 ")
    assert OneInstanceApi.key not in "".join(seen)


async def test_a_redirect_gets_no_key() -> None:
    api, elsewhere = OneInstanceApi(), OneInstanceApi()
    async with FakeApi.serving(api) as url, FakeApi.serving(elsewhere) as other:
        api.fault("DELETE", "answer", Reply(307, headers={"location": f"{other}/api/v0/instances/{MACHINE}/"}))
        async with watched("", api.variables(url)) as watchdog:
            await watchdog.ended()
        assert (api.there, elsewhere.requests) == (False, [])


@asynccontextmanager
async def a_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that connects nobody; its URL, and the requests that it gets."""
    seen: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with stream_server(refuse) as port:
        yield f"http://127.0.0.1:{port}", seen
