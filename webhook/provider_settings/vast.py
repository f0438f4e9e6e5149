"""Settings of the vast provider."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from webhook.provider_settings.base import BaseProviderSettings, Bootstrap, Environment, Image
from webhook.provider_settings.vast_search import read_order, read_search
from webhook.store_endpoint import is_loopback
from workers.outgoing import sends_in_clear

API = "https://console.vast.ai/api"


def _search(value: str) -> str:
    read_search(value)
    return value


def _order(value: str) -> str:
    read_order(value)
    return value


def _api_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        rest = parts.username or parts.password or parts.query or parts.fragment
    except ValueError:
        whole, rest = False, None
    if not whole or rest:
        raise ValueError(f"has to be the base of Vast.ai's API: {API}")
    if sends_in_clear(value):
        raise ValueError("has to begin with https://: the account's key is sent there")
    return value.rstrip("/")


Traffic = Annotated[Decimal, Field(ge=0, le=100_000, max_digits=9, decimal_places=3, allow_inf_nan=False)]
"""What a machine downloads, in GB."""


class VastSettings(BaseProviderSettings):
    """Machines of the market Vast.ai. The key is ``VAST_API_KEY``."""

    usual_boot_seconds: ClassVar[float] = 600

    kind: Literal["vast"]
    image: Image
    """What a machine runs: an image whose entry point takes the command ``worker``."""
    bootstrap: Bootstrap = None
    """``python``: the image is any with Python 3.11 or newer, into which the worker is installed at each start."""
    search: Annotated[str, Field(max_length=2_000), AfterValidator(_search)] = "num_gpus=1"
    """Which machines will do, in the market's own syntax: ``verified=any gpu_ram>=12 num_gpus=1``."""
    order: Annotated[str, Field(max_length=200), AfterValidator(_order)] | None = None
    """Which is taken first, in the market's own syntax: ``dph+``. By default the cheapest at its real price."""
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], Field(max_length=20)] = ()
    """Ports of a machine that Vast.ai maps to ports of its address, for services with ``way = "direct"``."""
    disk_gb: Annotated[int, Field(ge=8, le=100_000)] = 16
    """Disk, which is paid for as long as the machine is there."""
    image_gb: Traffic = Decimal(2)
    """What pulling the image downloads, compressed: hosts ask money for traffic."""
    weights_gb: Traffic = Decimal(0)
    """What else a machine downloads before it works, beside its pool's models."""
    image_login: bool = False
    """Whether hosts get ``YURT_REGISTRY_USERNAME`` and ``YURT_REGISTRY_PASSWORD`` to pull the image."""
    environment: Environment = Field(default={})
    """Variables that a worker gets beside Yurt's own."""
    api_url: Annotated[str, Field(max_length=500), AfterValidator(_api_url)] = API
    """Base of the API. One on this machine is a pretend market, whose machines are processes here."""

    @property
    def boot_seconds(self) -> float:
        """On a pretend market they are processes of this machine."""
        return BaseProviderSettings.usual_boot_seconds if self.same_machine else super().boot_seconds

    @property
    def same_machine(self) -> bool:
        """Whether the market is a pretend one on this machine, whose machines reach its loopback."""
        return is_loopback(self.api_url)

    @property
    def query(self) -> Mapping[str, Any]:
        """The search in the API's form."""
        return {
            **read_search(self.search),
            # Without an order of the user's own the dearest are left out where the market shows only so many.
            "order": read_order(self.order or "dph+"),
            "type": "on-demand",
            # The real disk: the price that an offer shows includes so much of it.
            "allocated_storage": float(self.disk_gb),
        }
