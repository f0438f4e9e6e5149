"""Settings of a pipeline that bound its handler: limits of one run, and what it may do beside its work."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from webhook.setting_types import Seconds
from workers.protocol import SandboxRules

_MIB = 1 << 20
_GIB = 1 << 30


class HandlerLimits(BaseModel):
    """Limits of one run of a handler."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_seconds: Seconds | None = None
    """CPU time in seconds; by default the pipeline's timeout."""
    memory_bytes: Annotated[int, Field(ge=64 * _MIB, le=1024 * _GIB)] = 2 * _GIB
    """Address space of the handler's process, in bytes."""
    input_bytes: Annotated[int, Field(ge=1, le=5 * 1024 * _GIB)] = 512 * _MIB
    """Largest input, in bytes."""
    output_bytes: Annotated[int, Field(ge=1, le=5 * _GIB)] = 512 * _MIB
    """All outputs of one object together, in bytes. One presigned PUT carries at most 5 GiB."""


class SandboxSettings(SandboxRules):
    """What a handler may do beside reading its input and writing its outputs, as it is written in the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)
