"""Settings of the docker provider: the container engine, and what each worker's container gets of its host."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from webhook.provider_settings.base import (
    AbsolutePath,
    BaseProviderSettings,
    Bootstrap,
    ContainerPath,
    Environment,
    Image,
    Usd,
)
from webhook.store_endpoint import is_loopback


def _host(value: str) -> str:
    words = "unix:///run/docker.sock, tcp://127.0.0.1:2375 or https://engine.example:2376"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:  # a port that is no number, an unbalanced bracket
        raise ValueError(f"has to be the address of a container engine: {words}") from None
    rest = parts.username or parts.password or parts.query or parts.fragment
    over_socket = parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1
    over_network = parts.scheme in ("tcp", "https") and parts.hostname and port and parts.path in ("", "/")
    if rest or not (over_socket or over_network):
        raise ValueError(f"has to be the address of a container engine: {words}")
    return value.rstrip("/")


def _tagged(value: str) -> str:
    # Without a tag an engine would pull every tag that the repository has.
    return value if "@" in value or ":" in value.rpartition("/")[2] else f"{value}:latest"


EngineHost = Annotated[str, AfterValidator(_host)]
TaggedImage = Annotated[Image, AfterValidator(_tagged)]
NetworkName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")]


class MountSettings(BaseModel):
    """A folder of the engine's host that each container gets, for a cache or models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: AbsolutePath
    """The folder on the engine's host. It has to be there."""
    target: ContainerPath
    """Where the container has it."""
    read_only: bool = True
    """Whether containers may only read it."""


class DockerSettings(BaseProviderSettings):
    """Containers at one engine, Docker or Podman."""

    rented: ClassVar[bool] = False

    kind: Literal["docker"]
    host: EngineHost = "unix:///run/docker.sock"
    """Where the engine listens: ``unix://`` and a socket, ``tcp://`` in clear, ``https://`` with TLS."""
    ca: AbsolutePath | None = None
    """File of the authority that issued the engine's certificate. By default the system's authorities."""
    cert: AbsolutePath | None = None
    """File of the client certificate by which the engine knows the control plane."""
    key: AbsolutePath | None = None
    """File of its private key."""
    image: TaggedImage
    """The workers' image, which has the command ``worker``."""
    bootstrap: Bootstrap = None
    """``python``: the image is any with Python 3.11 or newer, into which the worker is installed at each start."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When the engine pulls the image."""
    usd_per_hour: Usd = Decimal(0)
    """What one container costs, for budgets and ``yurt costs``; 0: nothing."""
    machines: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most containers of this installation at this engine."""
    cpus: Annotated[Decimal, Field(ge=Decimal("0.01"), le=1024, decimal_places=2)] | None = None
    """CPUs of one container."""
    memory_bytes: Annotated[int, Field(ge=64 << 20, le=1 << 50)] | None = None
    """Memory of one container, with no swap beside it."""
    gpus: Literal["all"] | Annotated[int, Field(ge=1, le=64)] | None = None
    """NVIDIA GPUs of one container."""
    network: NetworkName | None = None
    """The engine's network to join; ``host``: the host's own."""
    mounts: Annotated[tuple[MountSettings, ...], Field(max_length=20)] = ()
    """Folders of the host."""
    read_only: bool = True
    """Whether the image's own files cannot be changed by a container: ``/tmp`` and mounts can."""
    environment: Environment = Field(default={})
    """Variables that a worker gets beside Yurt's own."""

    @model_validator(mode="after")
    def _related(self) -> Self:
        if (self.ca or self.cert or self.key) and not self.host.startswith("https://"):
            raise ValueError("ca, cert and key are for TLS: they need host = https://…")
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key are set both, or neither")
        targets = [mount.target for mount in self.mounts]
        if len(set(targets)) < len(targets):
            raise ValueError("mounts: two have the same target")
        return self

    @property
    def same_machine(self) -> bool:
        """Where containers share the network of the host that the control plane runs on."""
        return self.network == "host" and (self.host.startswith("unix:") or is_loopback(self.host))
