"""Messages about services: the servers that a worker is to run, and what became of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workers.message import Message, Models
from workers.value_types import Argument, Log, MachineFolder, RequestPath, ServiceName, Variable

MAX_ORDERS = 8
"""Services of one machine. Today the ledger gives it one."""


class ServiceOrder(Message):
    """One server that a worker runs for a service. Orders that are equal are for the same process of it."""

    name: ServiceName
    command: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    """Starts the server; where it is empty, another program of the machine does. May hold ``{model:NAME}``."""
    folder: MachineFolder = ""
    """In which the server is started; where it is empty, in the one of its kind, or an empty folder of its own."""
    kind: Literal["", "cog"] = ""
    """``cog``: its folder is ``/src``, where the machine has that."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """On which the server listens on loopback."""
    ready: RequestPath = "/"
    """Answered 200 by a server that can take requests."""
    ready_status: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)] = ()
    """Values of ``status`` in that answer, a JSON object, that mean so too. Empty: the 200 is enough."""
    start_seconds: Annotated[float, Field(gt=0, le=3_600)] = 300
    """A server that is not ready after so long has failed, and is started again later."""
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Requests at once that the server is given; further ones wait at the worker."""
    environment: Annotated[dict[Variable, Argument], Field(max_length=50)] = {}
    """Variables that the server gets beside those of handlers. Their values may hold ``{model:NAME}`` too."""
    models: Models = ()
    """On the worker's disk before the server is started."""
    way: Literal["tunnel", "direct"] = "tunnel"
    """How requests come: through connections that the worker opens, or to its gate."""
    direct_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """On which the gate listens on all addresses, where ``way`` is ``direct``."""
    direct_token: Annotated[str, Field(max_length=200, repr=False)] = ""
    """Which the gate requires of each request."""


class ServiceOrders(Message):
    """All servers that a worker runs: it starts what is missing, and stops what is not among them."""

    digest: Annotated[str, Field(max_length=64)] = ""
    """Names this set; empty: there are no orders."""
    orders: Annotated[tuple[ServiceOrder, ...], Field(max_length=MAX_ORDERS)] = ()


class ServiceReport(Message):
    """What became of a service's server on a worker: sent at each change, and every few seconds while it starts."""

    state: Literal["loading", "starting", "ready", "failing"]
    """Fetches models; waits until the server is ready; takes requests; was not ready in time or has ended."""
    message: Annotated[str, Field(max_length=2_000)] = ""
    """Why it fails, for people."""
    log: Log = ""
    """The end of the server's output, where it fails."""
    address: Annotated[str, Field(max_length=300, pattern=r"^(https?://[!-~]+)?$")] = ""
    """Where its gate is reached, with ``way = "direct"`` where the worker knows it better than the provider."""


class ServiceReportAnswer(Message):
    """The response to ``ServiceReport``."""

    drain: bool = False
    """Finish what runs, take no new requests, and leave."""
