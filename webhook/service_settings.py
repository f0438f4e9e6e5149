"""Settings of a service, ``[services.NAME]`` in ``yurt.toml``: its server, who may ask it, how long requests wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webhook.setting_types import HostName, PoolName, Seconds
from workers.protocol import MAX_MODELS, ModelRef, ServiceOrder
from workers.value_types import Argument, MachineFolder, ModelName, RequestPath, Variable, placed_models

_GIB = 1 << 30
_COG: dict[str, Any] = {"port": 5000, "ready": "/health-check", "ready_status": ["READY", "BUSY"]}
_OPENAI: dict[str, Any] = {"port": 8000, "ready": "/health"}
_PRESETS: dict[str, dict[str, Any]] = {"": {}, "cog": _COG, "openai": _OPENAI}


class Service(BaseModel):
    """One service: an HTTP server on the machines of a pool, reached through the control plane."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["", "cog", "openai"] = ""
    """Fills in ``port``, ``ready`` and ``ready_status`` for a kind of server."""
    pool: PoolName = "local"
    """Pool whose machines run the server."""
    models: Annotated[tuple[ModelName, ...], Field(max_length=MAX_MODELS)] = ()
    """Models of ``[models.NAME]`` that are on a machine's disk before the server is started."""
    command: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    """Starts the server; where it is empty, another program of the machine does. No shell is involved. May hold
    ``{model:NAME}``, the folder of a model."""
    environment: Annotated[dict[Variable, Argument], Field(max_length=50)] = {}
    """Variables that the server gets beside those of handlers. Their values may hold ``{model:NAME}`` too."""
    folder: MachineFolder = ""
    """In which the server is started, on its machine. Empty: with ``preset = "cog"`` ``/src`` where the machine has it,
    as cog's images do; else an empty folder of its own."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """On which the server listens on loopback."""
    ready: RequestPath = "/"
    """Answered 200 by a server that can take requests."""
    ready_status: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)] = ()
    """Values of ``status`` in that answer, a JSON object, that mean so too. Empty: the 200 is enough."""
    start_seconds: Annotated[float, Field(gt=0, le=3_600)] = 300
    """A server that is not ready after so long has failed, and is started again later."""
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Requests that one machine works on at once."""
    wait_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    """Longest time for which a request waits for a machine."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Most requests that wait at one replica of the control plane: further ones are answered 429."""
    idle_seconds: Seconds | None = None
    """A machine whose last request ended so long ago is drained and slain; by default the pool's ``idle_seconds``."""
    answer_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    """Longest time between a request and the head of its answer."""
    stall_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    """An answer's body, or a WebSocket, that brings nothing for so long is cut off."""
    body_limit_bytes: Annotated[int, Field(ge=0, le=1024 * _GIB)] = 1 * _GIB
    """Largest body of a request, in bytes."""
    token_requests: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Most requests of one token that wait or are under way at one replica: further ones are answered 429."""
    way: Literal["tunnel", "direct"] = "tunnel"
    """How requests reach a machine: through connections that its worker opens, or at an address of the machine."""
    direct_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """With ``way = "direct"``: the port on which the machine's gate listens."""
    hosts: Annotated[tuple[HostName, ...], Field(max_length=100)] = ()
    """Names under which the service is reached beside ``/services/NAME/``: all paths of these hosts are its own."""
    public: bool = False
    """Whether requests need no token."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {**_PRESETS.get(str(given.get("preset", "")), {}), **given}

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.way == "direct" and self.direct_port is None:
            raise ValueError('way = "direct" needs direct_port: the port of the machine on which its gate listens')
        if self.way == "tunnel" and self.direct_port is not None:
            raise ValueError('direct_port is set, but way is "tunnel": set way = "direct", or leave out direct_port')
        if self.direct_port is not None and self.direct_port == self.port:
            raise ValueError(f"direct_port ({self.direct_port}) may not be port: the server itself listens there")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: a model is named twice")
        for setting, texts in (("command", self.command), ("environment", self.environment.values())):
            if unknown := sorted(placed_models(texts) - set(self.models)):
                raise ValueError(f"{setting} holds {{model:{unknown[0]}}}: add {unknown[0]!r} to models")
        return self

    def order(self, name: str, models: tuple[ModelRef, ...], direct_token: str) -> ServiceOrder:
        """What a worker is told to run."""
        return ServiceOrder(
            name=name,
            command=self.command,
            folder=self.folder,
            kind="cog" if self.preset == "cog" else "",
            port=self.port,
            ready=self.ready,
            ready_status=self.ready_status,
            start_seconds=self.start_seconds,
            concurrency=self.concurrency,
            environment=self.environment,
            models=models,
            way=self.way,
            direct_port=self.direct_port,
            direct_token=direct_token if self.way == "direct" else "",
        )


def refuse_wrong_services(services: Mapping[str, Service], pools: Collection[str], models: Collection[str]) -> None:
    """Raise ValueError for a service whose pool or model is not there, and for a host name that two services have."""
    hosts: dict[str, str] = {}
    for name, service in services.items():
        if service.pool not in pools:
            known = ", ".join(pools) or "none"
            raise ValueError(f"services.{name}.pool: there is no pool {service.pool!r} (there are: {known})")
        if unknown := [model for model in service.models if model not in models]:
            known = ", ".join(models) or "none"
            raise ValueError(f"services.{name}.models: there is no model {unknown[0]!r} (there are: {known})")
        for host in service.hosts:
            if (other := hosts.setdefault(host, name)) != name:
                raise ValueError(f"services.{name}.hosts: {host!r} is a host of services.{other} already")
