"""Providers offer, mint, list and slay machines: the interface that each implements, and its errors.

``tests/webhook/fleet/providers/contract.py`` holds each of them to what is written here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from typing import Protocol, runtime_checkable

_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
BOOT_LOG_CHARACTERS = 2_000
"""Of a machine's log that are reported."""


class ProviderError(Exception):
    """The provider did not do what it was asked. Its message never holds a secret."""

    def __init__(self, message: str, *, retry: bool = True, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry
        """Whether the same call can succeed later by itself."""
        self.hint = hint
        """What an operator can do about it."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ProviderBusy(ProviderError):
    """It has no room or asks for fewer calls. No failed start: minting waits for so long."""

    def __init__(self, message: str, *, retry_seconds: float = 30.0, hint: str = "") -> None:
        super().__init__(message, retry=True, hint=hint)
        self.retry_seconds = retry_seconds


class NotSent(ProviderBusy):
    """As `ProviderBusy`, and nothing was sent: an offer that was to be taken is as good as before."""


class ProviderRefused(ProviderError):
    """It will not, until a person changes something: credentials, quota, image, configuration."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, retry=False, hint=hint)


class OfferGone(ProviderError):
    """Another customer was faster, or the offer was withdrawn. No failed start: the next offer is taken at once."""


_BYTES_PER_GB = 1_000_000_000
"""Traffic is sold by powers of ten."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One machine that a provider would rent out now. Prices in US dollars, exact."""

    id: str
    """The provider's own name for it. Empty where it rents out machines of a kind, not single ones."""
    usd_per_hour: Decimal
    """Machine and disk, from the order until it is gone."""
    usd_once: Decimal = Decimal(0)
    """What it costs once: traffic of the image, say."""
    machine: str = ""
    """The provider's name for the physical machine: avoided for a while where it did not boot. Empty: not known."""
    host: str = ""
    """The provider's name for who runs the machine. Empty: not known."""
    description: str = ""
    """For people, in a few words: ``1× RTX 3090, 24 GB, SE``."""
    many: bool = False
    """Whether there are as many such machines as are wanted, as in a region; always so without an id."""
    usd_per_gb: Decimal = Decimal(0)
    """What a GB that it downloads costs: its pool's models are added to what is paid once."""
    by_price: bool = False
    """Whether the pool takes it by its real price among the provider's; else the provider's order stays."""

    @property
    def is_single(self) -> bool:
        """Whether it is one machine, which can be taken once."""
        return bool(self.id) and not self.many

    def usd_once_with(self, weights_bytes: int) -> Decimal:
        """What is paid once, where a machine downloads models of so many bytes. Rounded up to a millionth."""
        weights = self.usd_per_gb * weights_bytes / _BYTES_PER_GB
        return self.usd_once + weights.quantize(Decimal("0.000001"), ROUND_UP)

    def real_usd_per_hour(self, hours: Decimal, weights_bytes: int = 0) -> Decimal:
        """The price of an hour, what is paid once included, where the machine lives for so many hours."""
        return self.usd_per_hour + self.usd_once_with(weights_bytes) / hours


@dataclass(frozen=True, slots=True)
class MintOrder:
    """One machine to mint."""

    label: str
    """Unique for ever; begins with the owner's name and a hyphen."""
    pool: str
    offer: Offer
    """The offer to take, as the provider made it."""
    url: str
    """Where it finds the control plane."""
    token: str = field(repr=False)
    """One-time token to call home with. Given by the environment, never by an argument or in a log."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which its worker calls home."""
        return {"YURT_URL": self.url, "YURT_TOKEN": self.token, "YURT_LABEL": self.label}


def slays_itself(kind: str) -> dict[str, str]:
    """The variable by which a machine of this kind of provider destroys itself once its worker has ended.

    Only of a provider that gives each machine a key for that machine alone: see `workers.self_slaying`.
    """
    return {"YURT_SLAYS_ITSELF": kind}


def is_own(label: str, owner: str) -> bool:
    """Whether a label is of a machine of this installation: see `webhook.ledger.machines.new_label`."""
    return label.startswith(f"{owner}-") and _LABEL.fullmatch(label) is not None


def require_own(order: MintOrder, owner: str) -> None:
    """Raise ProviderRefused where a machine is not of this installation: no list would show it."""
    if not is_own(order.label, owner):
        raise ProviderRefused(f"label {order.label!r} does not begin with {owner}-")


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine as the provider shows it."""

    label: str
    ref: str
    """The provider's own name for it."""
    running: bool = True
    """False: it has ended for good, or is in a state that never gets well. True while it starts."""
    usd_per_hour: Decimal | None = None
    """What it costs now, machine and disk, where the provider says so: it may have changed the price."""
    status: str = ""
    """The provider's own word for its state, for people."""


@dataclass(frozen=True, slots=True)
class ProviderFinding:
    """One thing that was found out about a provider before it is used, for ``yurt check``."""

    ok: bool
    message: str
    hint: str = ""
    """What to do about it."""


class Provider(Protocol):
    """One kind of place where machines can be rented.

    Any call may be cancelled at any point, by a timeout say: what it had begun then shows in a later list.
    """

    @property
    def lag_seconds(self) -> float:
        """How long its list may miss what it minted or show what it has slain. 0: the list is the truth."""
        ...

    @property
    def offer_seconds(self) -> float:
        """How long its offers are good for: so long they are not asked for again."""
        ...

    async def offers(self) -> Sequence[Offer]:
        """What it would rent out now that fits its settings, in the order in which it is to be taken.

        At most 100. Empty: it has no room. A machine whose price is not known is not offered: it would be rented
        without a limit.

        Raises:
            ProviderBusy, ProviderRefused, ProviderError: as `mint`.

        """
        ...

    async def mint(self, order: MintOrder) -> str:
        """Ask for one machine that runs a worker with the order's URL, token and label; give its ref.

        Returns as soon as it is accepted and does not wait for it to boot. Also where the call fails, a
        machine that exists afterwards carries the label and shows in a later list.

        Raises:
            OfferGone: another offer may be had at once.
            ProviderBusy: no room, or too many calls; later perhaps. NotSent where the provider did not see the order.
            ProviderRefused: not until a person does something.
            ProviderError: anything else.

        """
        ...

    async def slay(self, instance: Instance) -> None:
        """Ask to destroy it, with all that it costs (disks too). Gently first where the provider can.

        Idempotent: one that is unknown or already gone is a success. Success means that it was asked, not
        that it is gone: only a later list says so.

        Raises:
            ProviderError: it could not be asked; it is asked again at the next tick.

        """
        ...

    async def list(self) -> Sequence[Instance]:
        """Everything whose label begins with this owner's name, known to the ledger or not, running or not.

        What the provider itself says now, never this process's own records; all pages of it, or an error.

        Raises:
            ProviderError: it did not answer, or not completely.

        """
        ...

    async def boot_log(self, label: str) -> str:
        """Return the end of what a machine printed, at most `BOOT_LOG_CHARACTERS`, behind a line that says where it is.

        For a machine that did not call home: the reason mostly stands there. Empty where nothing is known of it.

        Raises:
            ProviderError: it did not answer.

        """
        ...

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether it can be used: is the key good, what may it do, is the image there. Mints nothing. Never raises."""
        ...

    async def aclose(self) -> None:
        """Let go of connections. Machines elsewhere go on; local ones end with the control plane."""
        ...


@runtime_checkable
class ListsSlowly(Protocol):
    """A provider whose list may take longer than its other calls: it has many pages, asked for one after the other."""

    @property
    def list_seconds(self) -> float:
        """How long the whole list may take. Each call that it is made of has a deadline of its own."""
        ...
