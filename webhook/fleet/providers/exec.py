"""Exec provider: machines that commands of the user's own offer, mint, list and slay.

Each call is one run of a program: a JSON message on its stdin, an answer on its stdout, and an exit status that says
what kind of failure it was. ``docs/exec.md`` describes them for authors of such commands.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from webhook.fleet.providers import (
    BOOT_LOG_CHARACTERS,
    Instance,
    MintOrder,
    Offer,
    OfferGone,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
    ProviderRefused,
    is_own,
    require_own,
)
from webhook.fleet.providers.exec_messages import (
    AnswerFault,
    CheckAnswer,
    CheckRequest,
    ExecMessage,
    ExecOffer,
    ExecRequest,
    ListAnswer,
    ListRequest,
    LogsAnswer,
    LogsRequest,
    MintAnswer,
    MintRequest,
    OffersAnswer,
    OffersRequest,
    SlayAnswer,
    SlayRequest,
    parsed,
)
from webhook.fleet.providers.local import inherited
from webhook.fleet.providers.program import STDERR_BYTES, run_program
from webhook.fleet.providers.reachability import refuse_unreachable
from webhook.provider_settings.exec import OPTIONAL_VERBS, ExecSettings, Verb

STDOUT_BYTES = 4_000_000
AT_ONCE = 8
"""Commands that run at the same time."""
_ERROR_CHARACTERS = 300

# Exit statuses, where sysexits.h has one.
OK = 0
UNKNOWN_VERB = 64
OFFER_GONE = 69
NO_ROOM = 75
REFUSED = frozenset({77, 78})

Answer = TypeVar("Answer", bound=ExecMessage)


class _UnknownVerb(ProviderError):
    """The command does not know an optional verb."""


class ExecProvider:
    """Runs the commands of one provider. See `Provider`.

    Args:
        owner: What the labels of this installation begin with.
        name: The provider's name in the configuration, for hints.
        settings: Commands, times and environments.

    """

    def __init__(self, owner: str, name: str, settings: ExecSettings) -> None:
        self._owner = owner
        self._name = name
        self._settings = settings
        self._running = asyncio.Semaphore(AT_ONCE)

    @property
    def lag_seconds(self) -> float:
        """See `Provider.lag_seconds`."""
        return self._settings.lag_seconds

    @property
    def offer_seconds(self) -> float:
        """See `Provider.offer_seconds`."""
        return self._settings.offer_seconds

    async def offers(self) -> Sequence[Offer]:
        """Run ``offers``. See `Provider.offers`."""
        answer = await self._ask("offers", OffersRequest(owner=self._owner), OffersAnswer)
        return [Offer(**offer.model_dump()) for offer in answer.offers]

    async def mint(self, order: MintOrder) -> str:
        """Run ``mint``, with the token on its stdin. See `Provider.mint`."""
        require_own(order, self._owner)
        refuse_unreachable(self._settings, order.url)
        offer = order.offer
        request = MintRequest(
            owner=self._owner,
            label=order.label,
            pool=order.pool,
            offer=ExecOffer.model_validate({name: getattr(offer, name) for name in ExecOffer.model_fields}),
            environment=self._worker_environment(order),
        )
        return (await self._ask("mint", request, MintAnswer, hidden=(order.token,))).ref

    async def slay(self, instance: Instance) -> None:
        """Run ``slay``. See `Provider.slay`."""
        if is_own(instance.label, self._owner):
            request = SlayRequest(owner=self._owner, label=instance.label, ref=instance.ref)
            await self._ask("slay", request, SlayAnswer)

    async def list(self) -> Sequence[Instance]:
        """Run ``list``, and leave out machines of other owners. See `Provider.list`."""
        answer = await self._ask("list", ListRequest(owner=self._owner), ListAnswer)
        return [Instance(**one.model_dump()) for one in answer.instances if is_own(one.label, self._owner)]

    async def boot_log(self, label: str) -> str:
        """Run ``logs``, where there is such a command. See `Provider.boot_log`."""
        if not is_own(label, self._owner):
            return ""
        try:
            answer = await self._ask("logs", LogsRequest(owner=self._owner, label=label), LogsAnswer)
        except _UnknownVerb:
            return ""
        where = f"printed by {self._called('logs')}:\n"
        end = _printable(answer.text.strip())[-(BOOT_LOG_CHARACTERS - len(where)) :]
        return where + end if end else ""

    async def check(self) -> Sequence[ProviderFinding]:
        """Run ``check``, ``offers`` and ``list``, which rent nothing. See `Provider.check`."""
        found = [
            ProviderFinding(
                ok=False, message=f"{name} is not set", hint=f"set it, or take it out of {self._key('inherit')}"
            )
            for name in self._settings.inherit
            if name not in os.environ
        ]
        try:
            found += await self._own_findings()
            offers, machines = await self.offers(), await self.list()
        except ProviderError as error:
            return [*found, ProviderFinding(ok=False, message=error.message, hint=error.hint)]
        told = f"its commands answer: {len(offers)} offers, {len(machines)} machines"
        return [*found, ProviderFinding(ok=True, message=told)]

    async def aclose(self) -> None:
        """Nothing is kept between two calls. See `Provider.aclose`."""

    def _key(self, setting: str) -> str:
        return f"providers.{self._name}.{setting}"

    def _called(self, verb: Verb) -> str:
        return f"the command `{verb}` of the provider {self._name}"

    def _worker_environment(self, order: MintOrder) -> dict[str, str]:
        return {**self._settings.environment, **order.environment}

    def _command_environment(self) -> Mapping[str, str]:
        """Of the control plane's variables the harmless ones and those that the settings name: no secret of ours."""
        named = {name: os.environ[name] for name in self._settings.inherit if name in os.environ}
        return {**inherited(), **named}

    async def _own_findings(self) -> Sequence[ProviderFinding]:
        try:
            answer = await self._ask("check", CheckRequest(owner=self._owner), CheckAnswer)
        except _UnknownVerb:
            return ()
        return [
            ProviderFinding(found.ok, _printable(found.message), _printable(found.hint)) for found in answer.findings
        ]

    async def _ask(self, verb: Verb, request: ExecRequest, answer: type[Answer], hidden: Sequence[str] = ()) -> Answer:
        """Run the command of a verb. ``hidden`` texts, and values that it inherits by name, appear in no error."""
        if (argv := self._settings.argv(verb)) is None:
            raise _UnknownVerb(f"no command for {verb}")
        environment = self._command_environment()
        async with self._running:
            end = await run_program(
                argv,
                request.model_dump_json().encode(),
                environment,
                timeout_seconds=self._settings.timeout_seconds,
                stdout_bytes=STDOUT_BYTES,
            )
        secrets = [*hidden, *(environment[name] for name in self._settings.inherit if name in environment)]
        if end.status != OK:
            raise _failure(self._called(verb), verb, end.status, _last_line(end.stderr, secrets))
        try:
            return parsed(answer, end.stdout.strip() or (b"{}" if answer is SlayAnswer else b""))
        except AnswerFault as error:
            hint = f"{answer.__name__} in docs/exec.schema.json is what to print"
            raise ProviderError(f"{self._called(verb)} printed a wrong answer: {error}", hint=hint) from None


def _failure(command: str, verb: Verb, status: int, reason: str) -> ProviderError:
    message = f"{command}: {reason}" if reason else f"{command} printed nothing to stderr"
    if status == UNKNOWN_VERB and verb in OPTIONAL_VERBS:
        return _UnknownVerb(message)
    if status == OFFER_GONE and verb == "mint":
        return OfferGone(message)
    if status == NO_ROOM:
        return ProviderBusy(message)
    if status in REFUSED:
        return ProviderRefused(message, hint=f"exit status {status}: not tried again at once")
    return ProviderError(message, hint=f"killed by signal {-status}" if status < 0 else f"exit status {status}")


def _last_line(stderr: bytes, secrets: Sequence[str]) -> str:
    """The last line that says something, without secrets and control characters."""
    text = stderr.decode("utf-8", "replace")
    if len(stderr) >= STDERR_BYTES:  # its first word may be the rest of a secret
        text = text.partition(" ")[2]
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _printable(lines[-1])[:_ERROR_CHARACTERS] if lines else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
