"""Settings of the exec provider."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, Field, model_validator

from webhook.provider_settings.base import BaseProviderSettings, Environment
from webhook.setting_types import Seconds

Verb = Literal["offers", "mint", "list", "slay", "logs", "check"]
"""What a command is asked to do, the last of its arguments."""
OPTIONAL_VERBS: frozenset[Verb] = frozenset({"logs", "check"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_OURS = re.compile(r"YURT_.*|(DIRECT_)?DATABASE_URL")


def _argv(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value[0] or any("\0" in argument or len(argument) > 4_000 for argument in value):
        raise ValueError("has to be a program and its arguments, each of at most 4000 characters")
    return value


def _inherited(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable")
        if _OURS.fullmatch(name):
            raise ValueError(f"{name} is the control plane's own: a command that mints machines has no use for it")
    return value


Argv = Annotated[tuple[str, ...], Field(min_length=1, max_length=100), AfterValidator(_argv)]
"""A program and its arguments. No shell reads them."""


class ExecSettings(BaseModel):
    """Commands of the user's own that offer, mint, list and slay machines. See docs/exec.md."""

    model_config = BaseProviderSettings.model_config

    kind: Literal["exec"]
    command: Argv | None = None
    """Run for every verb that is not among ``commands``, with the verb as its last argument."""
    commands: Annotated[dict[Verb, Argv], Field(max_length=len(get_args(Verb)))] = {}
    """A command for each verb, run as it is written."""
    rented: bool = True
    """Whether the machines are other people's, as for other kinds; here only the user can know."""
    timeout_seconds: Annotated[Seconds, Field(le=3_600)] = 25
    """A command that runs for longer is killed with all processes of its group."""
    lag_seconds: Annotated[float, Field(ge=0, le=3_600)] = 30
    """How long ``list`` may miss what was minted, or show what was slain."""
    offer_seconds: Seconds = 60
    """How long offers are good for: so long they are not asked for again."""
    inherit: Annotated[tuple[str, ...], Field(max_length=50), AfterValidator(_inherited)] = ()
    """Variables of the control plane's environment that commands get beside ``PATH``, ``HOME`` and the like."""
    environment: Environment = {}
    """Variables that a worker gets beside Yurt's own."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        missing = [verb for verb in get_args(Verb) if verb not in OPTIONAL_VERBS and self.argv(verb) is None]
        if missing:
            raise ValueError(f"set command, or commands.{missing[0]}: nothing says what to run for {missing[0]!r}")
        return self

    @property
    def boot_seconds(self) -> float:
        """The ``boot_seconds`` of a pool that sets none."""
        return 300

    @property
    def same_machine(self) -> bool:
        """Whether its machines may reach a control plane that listens on loopback: through a tunnel of the user's."""
        return not self.rented

    def argv(self, verb: Verb) -> tuple[str, ...] | None:
        """What to run for a verb; None: nothing, which only an optional verb allows."""
        if verb in self.commands:
            return self.commands[verb]
        return (*self.command, verb) if self.command else None
