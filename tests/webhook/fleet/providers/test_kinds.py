"""The providers that a configuration names are made from their settings."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from webhook.config import Config, ConfigError
from webhook.fleet.providers.docker import DockerProvider
from webhook.fleet.providers.kinds import make_providers
from webhook.provider_settings import DockerSettings, ExecSettings, FlySettings, LocalSettings, ProviderSettings
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
