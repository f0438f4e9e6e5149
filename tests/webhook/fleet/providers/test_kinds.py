"""The providers that a configuration names are made from their settings."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.webhook.fleet.providers.contract import order
from tests.webhook.fleet.providers.vast_market import VastMarket
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.fleet.providers import Offer, ProviderBusy
from webhook.fleet.providers.docker import DockerProvider
from webhook.fleet.providers.kinds import make_providers
from webhook.provider_settings import (
    DockerSettings,
    ExecSettings,
    FlySettings,
    LocalSettings,
    ProviderSettings,
    VastSettings,
)
from webhook.secret_settings import Secrets


def configured(**providers: ProviderSettings) -> Config:
    pipeline = {"input": "s3://ups/", "output": "s3://outs/"}
    return Config.model_validate({"pipelines": {"photos": pipeline}, "providers": providers})


async def test_the_local_provider_is_there_without_being_named(tmp_path: Path) -> None:
    providers = make_providers(configured(), Secrets(), tmp_path)
    assert set(providers) == {"local"}


async def test_each_provider_has_machines_of_its_own_and_its_price(tmp_path: Path) -> None:
    providers = make_providers(configured(dear=LocalSettings(usd_per_hour=Decimal("0.3"))), Secrets(), tmp_path)
    [offer] = await providers["dear"].offers()
    assert offer.usd_per_hour == Decimal("0.3")
    [offer] = await providers["local"].offers()
    assert offer.usd_per_hour == 0


async def test_a_docker_provider_is_made_of_its_settings(tmp_path: Path) -> None:
    settings = DockerSettings(kind="docker", image="yurt-worker", usd_per_hour=Decimal("0.03"))
    made = make_providers(configured(home=settings), Secrets(), tmp_path)["home"]
    assert isinstance(made, DockerProvider)
    [offer] = await made.offers()
    assert (offer.usd_per_hour, offer.description) == (Decimal("0.03"), "a container at unix:///run/docker.sock")


FLY = FlySettings(kind="fly", app="a", image="yurt:1", usd_per_hour=Decimal("0.02"))


async def test_a_kind_with_a_key_is_not_made_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLY_API_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"providers.cloud: its key is missing: set FLY_API_TOKEN"):
        make_providers(configured(cloud=FLY), Secrets(), tmp_path)
    providers = make_providers(configured(cloud=FLY), Secrets(fly_api_token=SecretStr("key")), tmp_path)
    [offer] = await providers["cloud"].offers()
    assert offer.usd_per_hour == Decimal("0.02")


async def test_commands_are_those_of_the_settings(tmp_path: Path) -> None:
    commands = ExecSettings(kind="exec", command=("/no/such/program",))
    [finding] = await make_providers(configured(mine=commands), Secrets(), tmp_path)["mine"].check()
    assert "/no/such/program cannot be started" in finding.message


def vast(**given: Any) -> VastSettings:
    return VastSettings.model_validate({"kind": "vast", "image": "ghcr.io/you/yurt:1", **given})


KEYS = Secrets(
    vast_api_key=SecretStr(VastMarket.key),
    yurt_registry_username="me",
    yurt_registry_password=SecretStr("pull-only"),
)


async def test_providers_with_one_key_at_vast_share_its_pace(tmp_path: Path) -> None:
    cloud = VastMarket()
    async with cloud.serving() as url:
        one, two = vast(api_url=f"{url}/api"), vast(api_url=f"{url}/api", disk_gb=50)
        made = make_providers(configured(one=one, two=two), KEYS, tmp_path)
        cloud.market.faults.searches_left = 0
        for name in ("one", "two"):
            with pytest.raises(ProviderBusy, match="the day's searches are used up"):
                await made[name].offers()
        assert len(cloud.requests) == 1
        for provider in made.values():
            await provider.aclose()


@pytest.mark.parametrize(
    ("image", "login"),
    [
        ("ghcr.io/you/yurt:1", "-u me -p pull-only ghcr.io"),
        ("localhost:5000/yurt:1", "-u me -p pull-only localhost:5000"),
        ("you/yurt:1", "-u me -p pull-only docker.io"),
    ],
)
async def test_hosts_get_the_credentials_of_the_images_registry(image: str, login: str, tmp_path: Path) -> None:
    cloud = VastMarket()
    async with cloud.serving() as url:
        settings = vast(api_url=f"{url}/api", image=image, image_login=True)
        provider = make_providers(configured(vast=settings), KEYS, tmp_path)["vast"]
        await provider.mint(order(offer=Offer("100", Decimal(1))))
        [contract] = cloud.market.living()
        assert contract.body["image_login"] == login
        await provider.aclose()


@pytest.mark.parametrize("password", ["", "a b", "-p", "x" * 2_001])
async def test_credentials_that_would_be_other_arguments_are_refused(password: str, tmp_path: Path) -> None:
    keys = KEYS.model_copy(update={"yurt_registry_password": SecretStr(password)})
    with pytest.raises(ConfigError, match="image_login needs YURT_REGISTRY_USERNAME") as caught:
        make_providers(configured(vast=vast(image_login=True)), keys, tmp_path)
    assert not password.strip("-p") or password not in str(caught.value)
