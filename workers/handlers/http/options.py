"""Options of the ``http`` handler, and what its presets fill in. The control plane checks them too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from workers.value_types import Argument, MachineFolder, RequestPath, Variable, placed_models

PLACEHOLDER = re.compile(r"\{(input_url|key|etag|output_url:([A-Za-z0-9][A-Za-z0-9._-]{0,199}))\}")
"""``{input_url}``, ``{key}``, ``{etag}`` and ``{output_url:NAME}``."""

_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"})
_OUTPUT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"

_COG: Mapping[str, Any] = {
    "port": 5000,
    "ready": "/health-check",
    "ready_status": ["READY", "BUSY"],
    "path": "/predictions",
    "answer": "output",
}
_OPENAI: Mapping[str, Any] = {
    "port": 8000,
    "ready": "/health",
    "path": "/v1/chat/completions",
    "answer": "choices.0.message.content",
}
_PRESETS: Mapping[str, Mapping[str, Any]] = {"": {}, "cog": _COG, "openai": _OPENAI}


class HttpOptions(BaseModel):
    """Options of ``handler = "http"``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["", "cog", "openai"] = ""
    """Fills in what follows for a kind of server: cog's predictions, or OpenAI's chat with a picture."""
    command: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    """Starts the server; where it is empty, another program of the machine does. No shell is involved. May hold
    ``{model:NAME}``, the folder of a model of the pipeline."""
    environment: Annotated[dict[Variable, Argument], Field(max_length=50)] = {}
    """Variables that the server gets beside those of handlers. Their values may hold ``{model:NAME}`` too."""
    folder: MachineFolder = ""
    """In which the server is started. Empty: with ``preset = "cog"`` ``/src`` where the machine has it, as cog's images
    do; else an empty folder of its own."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """On which the server listens on loopback."""
    ready: RequestPath = "/"
    """Answered 200 by a server that can take requests."""
    ready_status: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)] = ()
    """Values of ``status`` in that answer, a JSON object, that mean so too. Empty: the 200 is enough."""
    start_seconds: Annotated[float, Field(gt=0, le=3_600)] = 300
    """A server that is not ready after so long is ended, and started again later."""
    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    path: RequestPath = "/"
    """With the query. May hold placeholders."""
    headers: Annotated[dict[str, Argument], Field(max_length=20)] = {}
    """May hold placeholders."""
    body: Literal["json", "file", "form"] = "json"
    """What is sent: ``template`` as JSON; the file; or a form with the file in its field."""
    template: JsonValue = None
    """The JSON; each text in it may hold placeholders."""
    field: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")] = "file"
    """Of a form, the one with the file."""
    answer: Annotated[str, Field(max_length=200)] = ""
    """Where in a JSON answer the result is: names and positions with dots between. Empty: all of it."""
    name: Annotated[str, Field(pattern=_OUTPUT_NAME)] = "output"
    """Of the output, without its suffix."""
    input: dict[str, JsonValue] = {}
    """For ``cog``: inputs of the model beside the picture."""
    input_name: Annotated[str, Field(min_length=1, max_length=100)] = "image"
    """For ``cog``: the model's input that gets the picture's URL."""
    model: Annotated[str, Field(max_length=200)] = ""
    """For ``openai``: the model's name at the server."""
    prompt: Annotated[str, Field(max_length=20_000)] = ""
    """For ``openai``: what is asked about the picture."""
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 512
    """For ``openai``."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = _PRESETS.get(str(given.get("preset", "")), {})
        return {**preset, **given}

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.body == "json" and self.template is None and self.method != "GET" and not self.preset:
            raise ValueError('template is missing: the JSON to send, or set body = "file" or body = "form"')
        if self.preset == "openai" and not self.prompt:
            raise ValueError('prompt is missing: what preset = "openai" asks about each picture')
        for header in self.headers:
            if not _HEADER.fullmatch(header) or header.lower() in _OURS:
                raise ValueError(f"headers: {header!r} is no header, or one that is set for each request")
        return self

    def placed_models(self) -> Mapping[str, set[str]]:
        """Return the names of the models whose folders ``command`` and ``environment`` are to hold."""
        return {"command": placed_models(self.command), "environment": placed_models(self.environment.values())}

    def json_body(self) -> JsonValue:
        """The JSON to send, with its placeholders."""
        if self.template is not None:
            return self.template
        if self.preset == "cog":
            return {"input": {**self.input, self.input_name: "{input_url}"}}
        picture: JsonValue = {"type": "image_url", "image_url": {"url": "{input_url}"}}
        content: JsonValue = [{"type": "text", "text": self.prompt}, picture]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
            "stream": False,
        }


def filled(template: JsonValue, values: Mapping[str, str], outputs_url: str) -> JsonValue:
    """Put values into every text of a template, each in one pass: a key that reads ``{etag}`` stays as it is.

    Args:
        template: Texts in it may hold placeholders; names of objects may not.
        values: Of ``input_url``, ``key`` and ``etag``.
        outputs_url: Below which outputs are put, with a slash at its end.

    """
    if isinstance(template, str):
        return fill(template, values, outputs_url)
    if isinstance(template, list):
        return [filled(item, values, outputs_url) for item in template]
    if isinstance(template, dict):
        return {name: filled(item, values, outputs_url) for name, item in template.items()}
    return template


def fill(text: str, values: Mapping[str, str], outputs_url: str) -> str:
    """Put values into one text. See `filled`."""
    return PLACEHOLDER.sub(lambda found: outputs_url + found[2] if found[2] else values[found[1]], text)
