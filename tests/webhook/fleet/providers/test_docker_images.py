"""Pulls of the workers' image: long ones, failing ones, and private ones from a registry to a real engine."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from tests.polling import until
from tests.webhook.fleet.providers.canned_engine import CannedEngine, canned_engine
from tests.webhook.fleet.providers.container_engines import ContainerEngine, running_engine
from tests.webhook.fleet.providers.image_registry import PASSWORD, USERNAME, ImageRegistry, image_registry
from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.docker_engine import DockerEngine
from webhook.fleet.providers.docker_images import WorkerImage
from webhook.provider_settings import DockerSettings
from webhook.secret_settings import Secrets

ACCOUNT = Secrets(yurt_registry_username=USERNAME, yurt_registry_password=SecretStr(PASSWORD))
IMAGE = "registry.example/you/worker:1"
PULL = "POST /images/create"


def image(host: str, name: str = IMAGE, secrets: Secrets = ACCOUNT, wait: float = 30.0, **fields: Any) -> WorkerImage:
    settings = DockerSettings(kind="docker", host=host, image=name, **fields)
    return WorkerImage(DockerEngine(settings), settings, secrets, wait_seconds=wait)


def pulls(canned: CannedEngine) -> int:
    return sum(request.startswith("POST") for request in canned.requests)


async def test_a_long_pull_does_not_hold_a_mint_and_is_made_once() -> None:
    async with canned_engine() as canned:
        canned.answers[PULL] = (200, b'{"status":"done"}\n')
        canned.held[PULL] = asyncio.Event()
        workers = image(canned.host, wait=0.01)
        for _ in range(3):
            with pytest.raises(ProviderBusy, match=r"registry.example/you/worker:1 is being pulled"):
                await workers.ready()
        canned.held[PULL].set()

        async def is_ready() -> bool:
            try:
                await workers.ready()
            except ProviderBusy:
                return False
            return True

        await until(is_ready)
        assert pulls(canned) == 1


async def test_a_mint_that_is_cancelled_leaves_the_pull_to_the_next() -> None:
    async with canned_engine() as canned:
        canned.answers[PULL] = (200, b"")
        canned.held[PULL] = asyncio.Event()
        workers = image(canned.host)
        first = asyncio.create_task(workers.ready())
        await until(lambda: pulls(canned))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        canned.held[PULL].set()
        await workers.ready()
        assert pulls(canned) == 1


@pytest.mark.parametrize(("pull", "there", "expected"), [("missing", 200, 0), ("always", 200, 1), ("never", 404, 0)])
async def test_an_image_is_pulled_when_the_settings_say_so(pull: str, there: int, expected: int) -> None:
    async with canned_engine() as canned:
        canned.answers |= {f"GET /images/{IMAGE}/json": (there, {}), PULL: (200, b"")}
        await image(canned.host, pull=pull).ready()
        assert pulls(canned) == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((404, {"message": "manifest unknown"}), ProviderRefused),
        ((500, {"message": f"unauthorized: {PASSWORD}"}), ProviderRefused),
        ((200, b'{"status":"x"}\n{"error":"pull access denied"}\n'), ProviderRefused),
        ((200, b'{"errorDetail":{},"error":"read: connection reset"}'), ProviderError),
        ((500, {"message": "no space left on device"}), ProviderError),
    ],
)
async def test_a_pull_that_fails_says_why_without_the_password(
    answer: tuple[int, Any], kind: type[ProviderError]
) -> None:
    async with canned_engine() as canned:
        canned.answers[PULL] = answer
        with pytest.raises(ProviderError, match=r"registry.example/you/worker:1 was not pulled: ") as raised:
            await image(canned.host).ready()
        assert type(raised.value) is kind
        assert PASSWORD not in str(raised.value)
        assert raised.value.__cause__ is None


async def test_credentials_are_sent_for_the_images_registry() -> None:
    async with canned_engine() as canned:
        canned.answers[PULL] = (200, b"")
        await image(canned.host).ready()
        [sent] = [line for line in canned.headers[-1].splitlines() if line.lower().startswith("x-registry-auth")]
        account = json.loads(base64.urlsafe_b64decode(sent.partition(": ")[2]))
        assert account == {"username": USERNAME, "password": PASSWORD, "serveraddress": "registry.example"}
        await image(canned.host, secrets=Secrets()).ready()
        assert "x-registry-auth" not in canned.headers[-1].lower()


async def test_a_check_says_whether_the_image_can_be_had() -> None:
    async with canned_engine() as canned:
        at_registry = f"GET /distribution/{IMAGE}/json"
        canned.answers[at_registry] = (200, {})
        assert (await image(canned.host).found()).message.endswith("is not there, and can be pulled")
        canned.answers[at_registry] = (403, {"message": "denied"})
        finding = await image(canned.host).found()
        assert (finding.ok, finding.message) == (False, f"{IMAGE} was not pulled: denied")
        assert "YURT_REGISTRY_PASSWORD" in finding.hint
        assert not (await image(canned.host, pull="never").found()).ok


# ── a real engine and a registry ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[ContainerEngine]:
    with running_engine(request.param) as running:
        yield running


@pytest.fixture
def registry() -> Iterator[ImageRegistry]:
    with image_registry() as running:
        yield running


async def test_a_private_image_is_pulled_from_its_registry(engine: ContainerEngine, registry: ImageRegistry) -> None:
    workers = image(engine.host, registry.image)
    assert not await workers.is_there()
    assert (await workers.found()).ok
    await workers.ready()
    assert await workers.is_there()
    assert registry.pulls
    given_out = len(registry.pulls)
    await workers.ready()
    assert len(registry.pulls) == given_out


@pytest.mark.parametrize(
    ("tag", "password"), [("1", "wrong-password-0123456789"), ("none", PASSWORD)], ids=["password", "tag"]
)
async def test_a_registry_that_refuses_is_final(
    engine: ContainerEngine, registry: ImageRegistry, tag: str, password: str
) -> None:
    account = Secrets(yurt_registry_username=USERNAME, yurt_registry_password=SecretStr(password))
    name = f"127.0.0.1:{registry.port}/you/worker:{tag}"
    with pytest.raises(ProviderRefused, match="was not pulled") as raised:
        await image(engine.host, name, account).ready()
    assert password not in str(raised.value)
