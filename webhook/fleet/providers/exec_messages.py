"""Messages between the exec provider and its commands: JSON on stdin and stdout, and their JSON Schema.

``docs/exec.schema.json`` is what `json_schema` returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from webhook.config_faults import in_words
from webhook.provider_settings.base import Usd

Name = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=2_000)]


class ExecMessage(BaseModel):
    """What all messages have in common: no field beside those that are described."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# ── what a command reads ─────────────────────────────────────────────────────────────────────────────────────────────


class ExecRequest(ExecMessage):
    """What every verb is given."""

    owner: str
    """Name of the installation (``server.name``): labels of its machines begin with it and a hyphen."""


class OffersRequest(ExecRequest):
    """Asks what could be rented now. Rents nothing."""

    verb: Literal["offers"] = "offers"


class ExecOffer(ExecMessage):
    """One machine, or one kind of machine, that could be rented now. Prices in US dollars."""

    id: Name = ""
    """The command's own name for it. Empty where it rents out machines of a kind, not single ones."""
    usd_per_hour: Usd
    """Machine and disk. Required: a machine whose price is not known is not rented."""
    usd_once: Usd = Decimal(0)
    """What it costs once, like traffic of the image."""
    machine: Name = ""
    """Name of the physical machine, which is avoided for a while where it did not boot. Empty: not known."""
    host: Name = ""
    """Name of who runs the machine. Empty: not known."""
    description: Name = ""
    """For people, in a few words."""


class MintRequest(ExecRequest):
    """Asks for one machine that runs a worker. Answered once it is ordered, not once it has booted."""

    verb: Literal["mint"] = "mint"
    label: str
    """The machine's unique name. ``list`` has to show it again, also where this call fails half-way."""
    pool: str
    offer: ExecOffer
    """The offer to take, as ``offers`` made it."""
    environment: dict[str, str]
    """The worker's variables: ``YURT_URL``, ``YURT_TOKEN`` (one-time: never an argument), ``YURT_LABEL``, settings'."""


class ListRequest(ExecRequest):
    """Asks for every machine whose label begins with the owner's name and a hyphen, running or not."""

    verb: Literal["list"] = "list"


class SlayRequest(ExecRequest):
    """Asks to destroy a machine with all that it costs. One that is unknown or gone already is a success."""

    verb: Literal["slay"] = "slay"
    label: str
    ref: str
    """The name that ``mint`` or ``list`` gave it. Empty where it is not known."""


class LogsRequest(ExecRequest):
    """Asks for the end of what a machine printed: the reason why it did not call home mostly stands there."""

    verb: Literal["logs"] = "logs"
    label: str


class CheckRequest(ExecRequest):
    """Asks what is found out about the set-up before it is used. Rents nothing."""

    verb: Literal["check"] = "check"


# ── what a command prints ────────────────────────────────────────────────────────────────────────────────────────────


class OffersAnswer(ExecMessage):
    """Offers in the order in which they are to be taken. Empty: no room."""

    offers: Annotated[list[ExecOffer], Field(max_length=100)]


class MintAnswer(ExecMessage):
    """The machine was ordered."""

    ref: Annotated[str, Field(min_length=1, max_length=200)]
    """The command's own name for it."""


class ExecInstance(ExecMessage):
    """One machine as it is now."""

    label: Annotated[str, Field(min_length=1, max_length=200)]
    ref: Name
    running: Annotated[bool, Field(strict=True)] = True
    """False: it has ended for good, or is in a state that never gets well. True while it starts."""
    usd_per_hour: Usd | None = None
    """What it costs now, where that is known."""
    status: Name = ""
    """The state in the place's own word, for people."""


class ListAnswer(ExecMessage):
    """All machines. A command that does not see all of them exits with an error instead: what is missing is gone."""

    instances: Annotated[list[ExecInstance], Field(max_length=10_000)]


class SlayAnswer(ExecMessage):
    """It was asked for. May be left out."""


class LogsAnswer(ExecMessage):
    """The end of a machine's log."""

    text: Annotated[str, Field(max_length=1_000_000)]


class ExecFinding(ExecMessage):
    """One thing that was found out."""

    ok: Annotated[bool, Field(strict=True)]
    message: Words
    hint: Words = ""
    """What to do about it."""


class CheckAnswer(ExecMessage):
    """What was found out."""

    findings: Annotated[list[ExecFinding], Field(max_length=100)]


REQUESTS: Sequence[type[ExecRequest]] = (
    OffersRequest,
    MintRequest,
    ListRequest,
    SlayRequest,
    LogsRequest,
    CheckRequest,
)
ANSWERS: Sequence[type[ExecMessage]] = (OffersAnswer, MintAnswer, ListAnswer, SlayAnswer, LogsAnswer, CheckAnswer)

Answer = TypeVar("Answer", bound=ExecMessage)


class AnswerFault(ValueError):
    """A command printed no message of the kind that was expected. Its text shows nothing of what was printed."""


def parsed(answer: type[Answer], printed: bytes) -> Answer:
    """Read a command's answer; prices are read as they are written. Raises AnswerFault."""
    try:
        message = json.loads(printed, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise AnswerFault("no JSON: " + ("nothing was printed" if not printed.strip() else "see the docs")) from None
    try:
        return answer.model_validate(message)
    except ValidationError as error:
        raise AnswerFault("; ".join(line.strip() for line in in_words(error, answer).splitlines()[:3])) from None


def json_schema() -> Mapping[str, Any]:
    """Return the JSON Schema of all messages, each under its name in ``$defs``."""
    requests = [(model, "serialization") for model in REQUESTS]
    answers = [(model, "validation") for model in ANSWERS]
    _, schema = models_json_schema(
        [*requests, *answers],  # type: ignore[list-item] # mypy does not see the literals
        title="Messages of Yurt's exec provider",
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
