"""The body of a callback: ``docs/callback.schema.json`` is what `json_schema` returns."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CallbackType = Literal["object.done", "object.refused", "object.parked", "object.gone"]


class _CallbackPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CallbackOutput(_CallbackPart):
    """One output of the result."""

    name: str
    url: str
    """A presigned GET, good for an hour. With it the output can be read without a key."""
    etag: str
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    content_type: str


class CallbackData(_CallbackPart):
    """The object, and what became of it."""

    pipeline: str
    bucket: str
    """Of the input."""
    key: str
    """Of the input."""
    sequence: int
    """Of two callbacks of one object the one with the greater sequence tells the later state."""
    etag: str | None
    """Of the input's content that the result was made from; null where there is no result."""
    verdict: str | None
    """Of the checks: ok, review or refused; null where none gives one, or the result was replaced since."""
    reason: str | None
    """Code of why it is parked."""
    message: str | None
    """Why it is parked, for the person who uploaded it."""
    outputs: list[CallbackOutput]
    """Of the result. Empty where the object is parked or gone, or the result was replaced since: then
    another callback follows.
    """


class CallbackBody(_CallbackPart):
    """What an app is told of one object."""

    type: CallbackType
    timestamp: datetime
    """When the object was settled, UTC."""
    data: CallbackData

    def encode(self) -> bytes:
        """JSON in UTF-8."""
        return self.model_dump_json().encode()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a callback's body."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **CallbackBody.model_json_schema()}
