"""Reads the configuration, ``yurt.toml`` and the environment: what to watch, what to do with it, and on which machines.

Secrets come from the environment, or a file of their own. Validation names the field and the relation it breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from webhook.content_types import allowed
from webhook.handler_settings import HandlerLimits, SandboxSettings
from webhook.pipeline_places import overlaps_of_answers, refuse_conflicts
from webhook.pool_settings import NO_PROVIDER, Pool
from webhook.provider_settings import LocalSettings, ProviderSettings
from webhook.provider_settings.base import Usd
from webhook.service_settings import Service, refuse_wrong_services
from webhook.setting_types import (
    BucketName,
    ContentType,
    InstallationName,
    ListenAddress,
    Network,
    PipelineName,
    PoolName,
    ProviderName,
    PublicUrl,
    Seconds,
    Topic,
)
from workers.protocol import MAX_MODELS, Limits
from workers.value_types import ModelName, ServiceName, Sha256

Days = Annotated[int, Field(ge=0, le=36_500)]
MIB = 1 << 20

RESERVED_PREFIX = ".yurt-"
"""Begins the names of Yurt's own objects in output locations: probes, and outputs that are not published yet."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Section):
    """A bucket and a prefix, written ``s3://bucket/prefix``."""

    bucket: BucketName
    prefix: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = urlsplit(value)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("has to be of the form s3://bucket/prefix/")
        return {"bucket": parts.netloc, "prefix": parts.path.removeprefix("/")}

    @model_serializer(when_used="json")
    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def overlaps(self, other: Place) -> bool:
        """Whether some key lies in both."""
        return self.bucket == other.bucket and (
            self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        )


class ServerSettings(_Section):
    """Settings of the HTTP server and of the loops: addresses, limits, intervals."""

    listen: ListenAddress = "127.0.0.1:8080"
    """``host:port``. Port 0 takes a free one."""
    public_url: PublicUrl = ""
    """URL by which workers and the store reach the server; by default the listening address."""
    name: InstallationName = "yurt"
    """Names this installation at providers: machines with labels that begin with it and are unknown are slain."""
    body_limit_bytes: Annotated[int, Field(ge=1024, le=64 * MIB)] = 8 * MIB
    """Largest body of a notification, in bytes."""
    open_webhook: bool = False
    """Take notifications without a secret. Then any sender that reaches the URL can cause work."""
    autoscale_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1
    """Seconds between two turns of the autoscaler."""
    backlog_events: Annotated[int, Field(ge=1000, le=1_000_000)] = 50_000
    """Most events that wait to be written: further requests are answered 503."""
    sns_topics: Annotated[tuple[Topic, ...], Field(max_length=100)] = ()
    """Amazon SNS topics whose signed messages are believed, and whose subscriptions are confirmed."""
    connections: Annotated[int, Field(ge=64, le=1_000_000)] = 4096
    """Most open connections; fewer where the limit of open files allows no more. Idle ones are closed first."""
    connections_per_address: Annotated[int, Field(ge=8, le=1_000_000)] = 512
    """Most open connections from one address, IPv6: from one /64 network. Loopback and ``proxies`` are exempt."""
    budget_usd_per_day: Usd | None = None
    """Most that all pools together may spend in one day (UTC), in US dollars."""
    proxies: Annotated[tuple[Network, ...], Field(max_length=100)] = ()
    """Addresses and networks of proxies in front of the server, whose connections are of many clients."""
    replica_url: PublicUrl = ""
    """URL by which the other replicas of the control plane reach this one, to pass on requests of services."""
    bundles: Place | None = None
    """Where bundles of functions are kept, and below it calls and their values. By default ``bundles/`` in the bucket
    of the first model."""
    calls_hours: Annotated[float, Field(ge=1, le=366 * 24)] = 24
    """Hours after which a call's arguments and its value are removed."""
    answers: Place | None = None
    """Where answers of services are put that clients fetch later. Without it clients have to wait for them."""
    answers_hours: Annotated[float, Field(ge=1, le=366 * 24)] = 24
    """Hours after a request, after which its answer is removed."""
    handlers: Annotated[str, Field(min_length=1, max_length=4_096)] = "."
    """Folder of the handlers' modules and programs, for local workers. Relative to the configuration's folder."""

    def is_proxy(self, address: str) -> bool:
        """Whether an address is one of ``proxies``."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in ip_network(network) for network in self.proxies)

    @property
    def host(self) -> str:
        """Host to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port to listen on."""
        return int(self.listen.rpartition(":")[2])


class CallbackSettings(_Section):
    """The app that is told what became of a pipeline's objects."""

    url: Annotated[str, Field(max_length=2000)]
    """Where it is told, with ``https://``."""
    allow_private: bool = False
    """Whether the URL may lead to this machine or a private network, and begin with ``http://``."""

    @model_validator(mode="after")
    def _url_is_usable(self) -> Self:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"url is no URL: {error}") from None
        if parts.scheme not in ("https", "http") or not host:
            raise ValueError("url has to be like https://app.example.com/hooks/yurt")
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError(
                "url has to begin with https://, or allow_private = true says that it leads to a network of yours"
            )
        if parts.username is not None or parts.fragment:
            raise ValueError("url may hold no user, password or fragment: callbacks are signed")
        return self


class Pipeline(_Section):
    """One pipeline: input → handler → output, run on a pool."""

    input: Place
    """Bucket and prefix of the objects to watch."""
    suffixes: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=50)], ...], Field(max_length=100)] = ()
    """Suffixes of keys to watch, in upper or lower case; all keys where empty."""
    output: Place
    """Where results go: ``{output}{key}/{name}``."""
    public_url: PublicUrl = ""
    """URL at which everything in the output's bucket is public, where it is. Results are presigned otherwise."""
    handler: str = "photo"
    """``photo``, ``python``, ``command``, ``http`` or ``function``."""
    options: dict[str, JsonValue] = {}
    """Options of the handler."""
    pool: PoolName = "local"
    """Pool whose machines process the objects."""
    models: Annotated[tuple[ModelName, ...], Field(max_length=MAX_MODELS)] = ()
    """Models of ``[models.NAME]`` that the handler finds on its worker's disk."""
    timeout_seconds: Seconds = 120
    """Wall time of one run of the handler, in seconds."""
    lease_seconds: Seconds = 180
    """A worker that has not renewed its lease for so long has lost it. At least the timeout."""
    lease_spans: Annotated[float, Field(ge=1, le=1000)] = 3
    """A lease ends after so many times ``lease_seconds``, however often it is renewed."""
    attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failed attempts before an object is parked."""
    store_attempts: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Attempts that failed by a fault of the store, before an object is parked."""
    absent_checks: Annotated[int, Field(ge=1, le=100)] = 3
    """Answers 404 of the store in a row before an object is taken for gone."""
    backoff_seconds: Seconds = 1
    """Wait before the second attempt, in seconds; doubles with each further one."""
    backoff_limit_seconds: Seconds = 300
    """Longest wait between attempts, in seconds."""
    replica_lag_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30
    """Seconds by which the store's regions may be behind. What is read so long after the last event is believed,
    before that only what confirms the event. 0: the store is strongly consistent."""
    consistent_reads: bool = False
    """Request strong reads: ``X-Tigris-Consistent``, which other stores ignore."""
    restore_days: Annotated[int, Field(ge=0, le=365)] = 0
    """Have archived objects restored for so many days; 0 parks them."""
    on_delete: Literal["keep", "remove", "trash"] = "keep"
    """Action on the outputs of an input that is confirmed gone."""
    trash: Place | None = None
    """Where outputs are moved to with ``on_delete = "trash"``: ``{trash}{key}/{name}``."""
    conditions: Literal["probe", "quoted", "unquoted", "none"] = "probe"
    """How the output's store has ``If-Match``: found out by trying, or taken as given."""
    unconditional: Literal["refuse", "stage"] = "refuse"
    """Where the output's store honours no conditions: hand out no work, or publish by way of keys of a token's own."""
    unsigned_headers: Literal["refuse", "stage", "trust"] = "refuse"
    """Where the output's store takes headers that a presigned PUT does not sign: hand out no work, or publish by way of
    keys of a token's own; no work in either case where it takes copies. ``trust``: it is not tried."""
    content_types: Annotated[tuple[ContentType, ...], Field(min_length=1, max_length=100)] | None = None
    """Content types that outputs may have, ``image/*`` for all of a kind; by default what the handler makes."""
    limits: HandlerLimits = HandlerLimits()
    callback: CallbackSettings | None = None
    """The app that is told what became of each object."""
    sandbox: SandboxSettings = SandboxSettings()
    """What the handler may do beside its input and outputs, on Linux."""

    @field_validator("suffixes", mode="after")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(suffix.lower() for suffix in value)

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.lease_seconds < self.timeout_seconds:
            raise ValueError(
                f"lease_seconds ({self.lease_seconds:g}) may not be less than timeout_seconds "
                f"({self.timeout_seconds:g}): a worker would lose its lease while it still works"
            )
        if self.backoff_limit_seconds < self.backoff_seconds:
            raise ValueError(
                f"backoff_limit_seconds ({self.backoff_limit_seconds:g}) may not be less than "
                f"backoff_seconds ({self.backoff_seconds:g})"
            )
        if self.on_delete == "trash" and self.trash is None:
            raise ValueError('on_delete = "trash" needs trash: set it to where outputs go, like "s3://bucket/trash/"')
        if self.on_delete != "trash" and self.trash is not None:
            raise ValueError(f'trash is set, but on_delete is "{self.on_delete}": set on_delete = "trash"')
        if self.conditions == "none" and self.unconditional == "refuse":
            raise ValueError('conditions = "none" needs unconditional = "stage": as it is, no work would be handed out')
        return self

    @property
    def longest_lease_seconds(self) -> float:
        """Longest life of a lease, renewed or not."""
        return self.lease_spans * self.lease_seconds

    @property
    def allowed_content_types(self) -> Sequence[str]:
        """Content types that outputs may have, the manifest aside."""
        return allowed(self.handler, self.content_types)

    @property
    def may_stage(self) -> bool:
        """Whether outputs may be written under keys of a token's own, for the control plane to copy."""
        return "stage" in (self.unconditional, self.unsigned_headers)

    @property
    def handler_limits(self) -> Limits:
        """Limits of one run of the handler, as they are sent to workers."""
        return Limits(
            wall_seconds=self.timeout_seconds,
            cpu_seconds=self.limits.cpu_seconds or self.timeout_seconds,
            memory_bytes=self.limits.memory_bytes,
            input_bytes=self.limits.input_bytes,
            output_bytes=self.limits.output_bytes,
        )

    def watches(self, bucket: str, key: str) -> bool:
        """Whether this pipeline watches an object.

        "Folders" (keys that end in a slash) never are, nor what a pipeline that writes here keeps to itself.
        """
        return (
            bucket == self.input.bucket
            and key.startswith(self.input.prefix)
            and not key.endswith("/")
            and f"/{RESERVED_PREFIX}" not in f"/{key}"
            and (not self.suffixes or key.lower().endswith(self.suffixes))
        )


class ModelSettings(_Section):
    """Weights in a bucket that workers have on their disk before they start work."""

    source: Place
    """What was published there with its manifest, or else one object, or all objects below a prefix."""
    root: Sha256 | None = None
    """The only version to use. By default the current one."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.source.prefix.strip("/"):
            raise ValueError("source needs a prefix or a key, as in s3://models/safety: a bucket is no model")
        return self


class SweepSettings(_Section):
    """Intervals and rate of sweeps."""

    recent_seconds: Annotated[float, Field(ge=0, le=7 * 24 * 3600)] = 300
    """Seconds between two sweeps of recent changes, where the store can list these. 0: never."""
    full_hours: Annotated[float, Field(ge=0, le=366 * 24)] = 24
    """Hours between two full sweeps. 0: never."""
    pages_per_second: Annotated[float, Field(ge=0, le=1000)] = 20
    """Rate of each sweep, a page having 1,000 objects at most. 0: as fast as it goes."""
    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Most sweeps that run at the same time."""


class RetentionSettings(_Section):
    """Days for which the ledger keeps finished rows. 0: for ever."""

    done_days: Days = 90
    """Days for objects that are done, gone or forgotten."""
    quarantine_days: Days = 30
    """Days for events that could not be read."""
    workers_days: Days = 7
    """Days for machines that are gone."""
    sweeps_days: Days = 30
    """Days for sweeps that ended."""
    callbacks_days: Days = 30
    """Days for callbacks that were told or given up."""
    events_days: Days = 3
    """Days for the log of settled objects, of which apps are told."""


class DefinitionSet(BaseModel):
    """Pipelines, pools, models and services that one owner defines: ``yurt.toml``, or one app that was deployed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipelines: Annotated[dict[PipelineName, Pipeline], Field(max_length=1000)] = {}
    pools: Annotated[dict[PoolName, Pool], Field(max_length=100)] = {}
    models: Annotated[dict[ModelName, ModelSettings], Field(max_length=100)] = {}
    """Weights that pipelines and services may name."""
    services: Annotated[dict[ServiceName, Service], Field(max_length=100)] = {}
    """HTTP servers on the machines of pools, which scale to zero."""


class Definitions(DefinitionSet):
    """Everything that is defined, with the providers that pools may name. What contradicts itself is refused."""

    providers: Annotated[dict[ProviderName, ProviderSettings], Field(max_length=50)] = {}
    """Where machines are minted, beside ``local``, which is always there."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, pipeline in self.pipelines.items():
            if pipeline.pool not in self.pools:
                known = ", ".join(self.pools) or "none"
                raise ValueError(f"pipelines.{name}.pool: there is no pool {pipeline.pool!r} (there are: {known})")
            if unknown := [model for model in pipeline.models if model not in self.models]:
                known = ", ".join(self.models) or "none"
                raise ValueError(f"pipelines.{name}.models: there is no model {unknown[0]!r} (there are: {known})")
            if len(set(pipeline.models)) < len(pipeline.models):
                raise ValueError(f"pipelines.{name}.models: a model is named twice")
        refuse_wrong_services(self.services, self.pools, self.models)
        if NO_PROVIDER in self.providers:
            raise ValueError(f"providers.{NO_PROVIDER}: that name says that a pool has no provider: choose another")
        for name, pool in self.pools.items():
            for provider in pool.provider_names:
                if provider not in self.all_providers:
                    known = ", ".join((*self.all_providers, NO_PROVIDER))
                    field = "providers" if pool.providers else "provider"
                    raise ValueError(f"pools.{name}.{field}: there is no provider {provider!r} (there are: {known})")
            self.pools[name] = pool.with_boot_seconds(
                [self.all_providers[each].boot_seconds for each in pool.provider_names]
            )
        refuse_conflicts(self.pipelines)
        return self

    @property
    def all_providers(self) -> dict[str, ProviderSettings]:
        """The settings of each provider that a pool may name."""
        return {"local": LocalSettings(), **self.providers}

    def mints_here(self, pool: str) -> bool:
        """Whether some machines of a pool are processes beside the control plane."""
        names = self.pools[pool].provider_names
        return any(isinstance(self.all_providers[name], LocalSettings) for name in names)

    def is_trusted(self, pool: str) -> bool:
        """Whether one machine's word is enough to park an object of a pool: by default where no machine is rented."""
        trusted = self.pools[pool].trusted
        rented = any(self.all_providers[name].rented for name in self.pools[pool].provider_names)
        return not rented if trusted is None else trusted


class Config(BaseSettings, Definitions):
    """All of ``yurt.toml``. A variable like ``YURT_SERVER__LISTEN`` takes the place of one field."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="YURT_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    sweep: SweepSettings = SweepSettings()
    retention: RetentionSettings = RetentionSettings()
    pools: Annotated[dict[PoolName, Pool], Field(max_length=100)] = {"local": Pool()}

    @model_validator(mode="after")
    def _answers_apart(self) -> Self:
        if fault := next(overlaps_of_answers(self.server.answers, self.pipelines), ""):
            raise ValueError(fault)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes all by name
        init_settings: Source,
        env_settings: Source,
        dotenv_settings: Source,  # noqa: ARG003
        file_secret_settings: Source,  # noqa: ARG003
    ) -> tuple[Source, ...]:
        """The environment first, then what the file says."""
        return env_settings, init_settings
