"""The providers that a configuration names are made from their settings."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from webhook.config import Config, Secrets
from webhook.fleet.providers.docker import DockerProvider
from webhook.fleet.providers.kinds import make_providers
from webhook.provider_settings import DockerSettings, LocalSettings, ProviderSettings


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
