"""What all messages between a worker and the control plane have in common, and how they name a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from workers.value_types import ModelName, Sha256

Bytes = Annotated[int, Field(ge=0, lt=2**63)]
MAX_MODELS = 20
"""That one pipeline or service may name."""


class Message(BaseModel):
    """A message of the protocol. Fields that a newer peer added are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ModelRef(Message):
    """One version of a model that a pipeline names."""

    name: ModelName
    root: Sha256
    """Names this version by its content: what a cache holds under it needs no check again."""
    size: Bytes
    """Bytes of all its files."""


Models = Annotated[tuple[ModelRef, ...], Field(max_length=MAX_MODELS)]
