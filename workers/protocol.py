"""The messages between a worker and the control plane: HTTP/JSON below ``/v1``.

A worker sees presigned URLs of the objects it has leased and one revocable token, nothing else. Each settlement names
the lease's fencing token: one with an old token changes nothing, and the response says so (409, or not accepted).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, RootModel

from workers.message import MAX_MODELS as MAX_MODELS
from workers.message import Bytes, Models
from workers.message import Message as Message
from workers.message import ModelRef as ModelRef
from workers.progress_messages import ProgressAnswer as ProgressAnswer
from workers.progress_messages import WorkerProgress as WorkerProgress
from workers.service_messages import ServiceOrder as ServiceOrder
from workers.service_messages import ServiceOrders as ServiceOrders
from workers.service_messages import ServiceReport as ServiceReport
from workers.service_messages import ServiceReportAnswer as ServiceReportAnswer
from workers.value_types import Log, ModelName, ModelPath, Sha256, UsdText, VerdictName

VERSION = 1

MAX_LEASES = 64
"""Leases in one request."""
MAX_WAIT_SECONDS = 30.0
"""Longest long poll."""
MAX_OUTPUTS = 64
"""Outputs of one object, the manifest not counted."""
MANIFEST = "result.json"
"""The output that is written last: the durable record of one result."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ETag = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21\x23-\x7e]+$")]
"""Visible ASCII without quotes (RFC 9110, entity-tag): it is sent back in conditional headers."""
Id = Annotated[int, Field(ge=1, lt=2**63)]
MAX_MODEL_FILES = 1_000
MAX_BUNDLE_BYTES = 256 << 20
"""Of one bundle of functions."""
MAX_UNJAILED = 200
"""Characters of ``Hello.unjailed``."""


class Version(Message):
    """One content of an object, as the store's own response names it."""

    etag: ETag
    """ETag without its quotes."""
    modified: datetime | None = None
    """Last-Modified; HTTP gives whole seconds."""
    size: Bytes | None = None
    """Bytes."""


# ── hello ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Hello(Message):
    """The first call of a process. Its bearer token is the machine's one-time token, an invitation, or a credential."""

    instance: Annotated[str, Field(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    """Drawn at random by the process: it may repeat the call when the response was lost, another process may not."""
    version: int = VERSION
    returns: bool = False
    """Whether the worker keeps a credential, with which a later process of it comes back."""
    unjailed: Annotated[str, Field(max_length=MAX_UNJAILED)] = ""
    """Why this machine cannot jail its handlers, for people; empty where it can."""
    serves: bool = False
    """Whether the agent runs servers of services. Without it, the machine is given to none."""
    process_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """For how long the process has run. None: it does not know."""


class Welcome(Message):
    """The response to ``Hello``."""

    worker: Id
    pool: str
    token: Annotated[str, Field(repr=False)]
    """Bearer token of every further call of this worker. Revoked when the worker is slain."""
    slots: Annotated[int, Field(ge=1, le=MAX_LEASES)]
    """Objects to handle at once."""
    idle_seconds: float | None
    """Leave after this time without a lease; null: stay."""
    orphan_seconds: float
    """Leave after this time without a response from the control plane."""
    credential: Annotated[str, Field(repr=False)] = ""
    """Bearer token of the ``Hello`` of a later process of the same worker, where it was asked for."""
    models: Annotated[tuple[ModelRef, ...], Field(max_length=1_000)] = ()
    """What the pipelines of its pool name: to be fetched before the first lease is requested."""
    checks: Annotated[tuple[ModelName, ...], Field(max_length=1_000)] = ()
    """Of these, the names of those that checks of photos use: to be loaded into memory once they are there."""
    services: ServiceOrders = ServiceOrders()
    """The servers that it is to run from the beginning."""


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Limits(Message):
    """The resources that one run of a handler may use, in its own process."""

    wall_seconds: Annotated[float, Field(gt=0)]
    cpu_seconds: Annotated[float, Field(gt=0)]
    memory_bytes: Annotated[int, Field(gt=0)]
    input_bytes: Annotated[int, Field(gt=0)]
    output_bytes: Annotated[int, Field(gt=0)]
    """All outputs of one object together."""


SandboxPath = Annotated[str, Field(min_length=2, max_length=1_000, pattern=r"^/[^\x00]+$")]


class SandboxRules(Message):
    """What a handler may do beside reading its input and writing its outputs. Holds on Linux."""

    mode: Literal["on", "require", "off"] = "on"
    """``on``: jailed where the kernel can. ``require``: refused by workers whose kernel cannot. ``off``: not jailed."""
    read: Annotated[tuple[SandboxPath, ...], Field(max_length=100)] = ()
    """Files and folders that it may read, beside programs and libraries."""
    write: Annotated[tuple[SandboxPath, ...], Field(max_length=100)] = ()
    """Files and folders that it may write too."""
    network: bool = False
    """Whether it may use the network: DNS, and TCP to ``ports``."""
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], Field(max_length=100)] = (443,)
    """TCP ports that it may connect to, where it may use the network."""


class Handler(Message):
    """The handler of a lease: it turns one input file into output files and labels."""

    kind: Literal["photo", "python", "command", "http", "function"]
    options: dict[str, JsonValue] = {}
    limits: Limits
    sandbox: SandboxRules = SandboxRules()


class Download(Message):
    """A presigned GET, with just these headers (``If-None-Match`` among them where a result exists)."""

    url: Annotated[str, Field(repr=False)]
    headers: dict[str, str] = {}


class Expected(Message):
    """What the control plane knows of the content, to recognise a replica that is behind."""

    etag: str | None = None
    modified: datetime | None = None
    """A response with a Last-Modified before this is of older content than is known to exist."""
    after: datetime | None = None
    """A response with other content than the last result's and a Last-Modified not after this may be of older content:
    HTTP gives whole seconds, and of two contents of one second it cannot be told which is the newer."""
    believed: bool = False
    """No replica can be behind any more: the response is believed, whichever content it names."""


class Lease(Message):
    """The right to process one object until the deadline."""

    id: Id
    """The object's number in the ledger."""
    token: Id
    """Fencing token: grows with every lease, also across a rebuilt ledger."""
    pipeline: str
    bucket: str
    key: str
    handler: Handler
    input: Download
    manifest: Download | None = None
    """A GET of an earlier result's manifest, where the ledger knows of none: it may have been pruned, or rebuilt."""
    expected: Expected
    attempt: Annotated[int, Field(ge=1)]
    models: Models = ()
    """Models that the handler finds under these names, in just these versions."""
    trial: bool = False
    """It may have ended a worker: handle it alone, and report that (``Handling``) before it enters the handler."""
    lease_seconds: float
    """From now. A heartbeat grants as much again."""
    usd_per_hour: UsdText | None = None
    """What the worker's machine costs now, for the manifest; null: nothing is known to be paid for it."""


class Output(Message):
    """One published output."""

    name: Name
    etag: ETag
    size: Bytes
    content_type: str


class Done(Message):
    """The content fetched was processed and all outputs are published, the manifest last."""

    outcome: Literal["done"] = "done"
    id: Id
    token: Id
    fetched: Version
    outputs: Annotated[list[Output], Field(max_length=MAX_OUTPUTS + 1)]
    """With the manifest."""
    verdict: VerdictName | None = None
    """Of the checks, as the manifest has it."""
    seconds: dict[str, float] = {}
    """How long each step took: fetch, handle, publish."""
    log: Log = ""


class Unchanged(Message):
    """The content is what the last result was made from: the store answered 304, or the manifest names its ETag."""

    outcome: Literal["unchanged"] = "unchanged"
    id: Id
    token: Id
    fetched: Version | None = None
    """The input's version, where it is known from the manifest."""
    outputs: Annotated[list[Output], Field(max_length=MAX_OUTPUTS + 1)] = []
    """The earlier result's outputs and its manifest, where they are known from the manifest."""
    verdict: VerdictName | None = None
    """Of the earlier result's checks, where it is known from the manifest."""


class Absent(Message):
    """The store answered 404. The control plane asks again before it believes it."""

    outcome: Literal["absent"] = "absent"
    id: Id
    token: Id


class Failed(Message):
    """The object could not be processed."""

    outcome: Literal["failed"] = "failed"
    id: Id
    token: Id
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")]
    """A short code to group by: ``unreadable``, ``too-large``, ``timeout``, ``crashed``, ``store`` …"""
    message: Annotated[str, Field(max_length=4_000)]
    """A sentence for the person who uploaded the file."""
    log: Log = ""
    """With the traceback."""
    retry: bool
    """Whether another attempt can help."""


ReleaseCause = Literal["leaving", "machine", "handler"]
"""Why a lease is given back: the worker ends; what the worker measured of its machine forbids work (disk, memory,
processes); the pipeline's handler cannot run there."""


class Released(Message):
    """The worker leaves, or cannot work for a reason of its own. Counts no attempt; another worker gets the object."""

    outcome: Literal["released"] = "released"
    id: Id
    token: Id
    cause: ReleaseCause = "leaving"
    """A code, since nothing is decided by a text."""
    unavailable: Annotated[str, Field(max_length=2_000)] = ""
    """Why the pipeline's handler cannot run on this worker, whichever the object: it gets no more of them for now."""

    @property
    def without_handler(self) -> bool:
        """Whether the handler cannot run there. Workers of earlier versions send the text alone."""
        return self.cause == "handler" or bool(self.unavailable)


Settlement = Annotated[Done | Unchanged | Absent | Failed | Released, Field(discriminator="outcome")]


class CompleteRequest(RootModel[Annotated[Done | Unchanged, Field(discriminator="outcome")]]):
    """Settle one lease whose object is done or unchanged."""


class FailRequest(RootModel[Annotated[Failed | Absent | Released, Field(discriminator="outcome")]]):
    """Settle one lease whose object is failed, absent or released."""


class Settled(Message):
    """The result of one settlement."""

    id: Id
    token: Id
    accepted: bool
    """False: the lease was lost before; nothing was changed."""


class Handling(Message):
    """Which leases are in the worker's handler: should the worker be lost, nothing else can have ended it."""

    number: Annotated[int, Field(ge=0, lt=2**63)]
    """Grows with every report of this worker. One that comes late is dropped."""
    tokens: Annotated[list[Id], Field(max_length=MAX_LEASES)]
    """Fencing tokens of the leases."""
    alone: bool = False
    """A lease on trial keeps all others out until it is settled."""


class LeaseRequest(Message):
    """Send settlements and request leases, in one round trip."""

    max: Annotated[int, Field(ge=0, le=MAX_LEASES)] = 1
    """0 only settles."""
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0
    """Seconds to wait for work when there is none."""
    settle: Annotated[list[Settlement], Field(max_length=MAX_LEASES)] = []
    handlers_changed: bool = False
    """The worker's handlers are others than when it last said that one is unavailable: try them again."""
    handling: Handling | None = None
    load_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """For which it has loaded models of checks into memory, all together. None: for none, or after its first result."""
    services_seen: Annotated[str, Field(max_length=64)] = ""
    """``digest`` of the orders that the worker has. A wait ends as soon as there are others."""


class LeaseResponse(Message):
    """The response to ``LeaseRequest``: up to ``max`` leases."""

    leases: list[Lease] = []
    settled: list[Settled] = []
    """In the order of ``settle``."""
    drain: bool = False
    """Take no more work, finish what is leased, leave."""
    services: ServiceOrders | None = None
    """The servers that the worker is to run from now on; null: those that it has."""


class HeartbeatRequest(Message):
    """Renew a lease."""

    token: Id
    handling: Handling | None = None


class HeartbeatResponse(Message):
    """The lease lives for another ``lease_seconds``."""

    lease_seconds: float
    superseded: bool
    """A newer event came: the object is worked again after this. Going on is right, stopping early is allowed."""


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class ModelSource(Message):
    """Where one file of a model is."""

    path: ModelPath
    size: Bytes
    etag: ETag | None = None
    """Of a model without a manifest: to be sent as ``If-Match`` with each range."""
    download: Download
    """Takes ranges. Ends after an hour at the latest: ask again where the store answers 403."""


class ModelSources(Message):
    """Where the files of one version of a model are: the response to ``GET /v1/models/{root}``."""

    root: Sha256
    manifest: Download | None = None
    """Of the manifest, whose SHA-256 is the root. Null: the files are plain objects, known by ETag."""
    files: Annotated[tuple[ModelSource, ...], Field(min_length=1, max_length=MAX_MODEL_FILES)]


class BundleSource(Message):
    """Where a bundle of functions is: the response to ``GET /v1/bundles/{root}``."""

    root: Sha256
    """SHA-256 of its bytes."""
    size: Bytes
    download: Download
    """Ends after an hour at the latest."""


# ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────────


class OutputRequest(Message):
    """One output to publish."""

    name: Name
    size: Bytes
    content_type: Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z0-9=-]+)*$")]
    cache_control: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9=, -]*$")] = ""
    conflict: bool = False
    """The PUT offered before was answered 412: look at the output that is there, and offer another condition."""


class OutputsRequest(Message):
    """Request presigned PUTs. The outputs carry the lease's token and the input's ETag as signed metadata."""

    token: Id
    etag: ETag
    """ETag of the input that was fetched."""
    modified: datetime | None = None
    """Its Last-Modified: results of newer content are not replaced."""
    outputs: Annotated[list[OutputRequest], Field(min_length=1, max_length=MAX_OUTPUTS + 1)]


class Upload(Message):
    """A presigned PUT. Exactly these headers must be sent: they are part of the signature."""

    name: Name
    url: Annotated[str, Field(repr=False)]
    headers: dict[str, str]


class OutputsResponse(Message):
    """One presigned PUT for each output requested, in that order."""

    uploads: list[Upload]


class Problem(Message):
    """Body of every response that is not 2xx."""

    error: str
    """A short code: ``lease-lost``, ``unauthorized`` …"""
    message: str
    """What happened, and what to do next."""


OUTPUTS_REFUSED = frozenset({"content-type", "output-too-large", "too-many-outputs"})
"""Codes with which outputs are refused: the object fails with the same reason."""


class RefusedOutputs(Problem):
    """The response to ``OutputsRequest`` where the pipeline does not allow such outputs. The lease goes on."""

    uploads: Annotated[list[Upload], Field(max_length=0)] = []
    """Empty: nothing was signed."""
