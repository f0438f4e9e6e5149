"""Contracts of the pretend market: what became of each instance, and what it was billed at."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from infra.market.offers import MarketOffer

_STEP_USD = Decimal("1e-12")
"""To which amounts are rounded, so that their sum is exact."""
BOOT_STATES = (None, "created", "loading", "running")
"""States of an instance that boots, one after the other."""


@dataclass(frozen=True)
class BookEntry:
    """What one instance was billed."""

    id: int
    label: str
    machine_id: int
    hours: Decimal
    hourly_usd: Decimal
    """For those hours."""
    traffic_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """In all."""
        return self.hourly_usd + self.traffic_usd


@dataclass
class MarketContract:
    """One instance from its creation until it is destroyed, and for ever in the books."""

    id: int
    offer: MarketOffer
    body: Mapping[str, Any]
    """Of the request that made it."""
    began: float
    traffic_usd: Decimal
    """For what it downloads."""
    boot_seconds: float = 0.0
    stuck: str | None = None
    """It does not get further than this state."""
    status: str | None = None
    """A state in place of the one that it would be in."""
    ended: float | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    """Opens this instance alone. It stands in its own environment."""
    rates: list[tuple[float, Decimal]] = field(default_factory=list)
    """From when on an hour cost so much."""

    def __post_init__(self) -> None:
        self.rates.append((self.began, self.offer.hourly_usd(self.body["disk"])))

    @property
    def label(self) -> str:
        """That it was made with."""
        return str(self.body["label"])

    @property
    def usd_per_hour(self) -> Decimal:
        """What an hour costs now."""
        return self.rates[-1][1]

    def reprice(self, usd_per_hour: Decimal, now: float) -> None:
        """From now on an hour costs so much."""
        self.rates.append((now, usd_per_hour))

    def state(self, now: float) -> str | None:
        """``actual_status``."""
        if self.status is not None:
            return self.status
        step = len(BOOT_STATES) - 1 if not self.boot_seconds else int(3 * (now - self.began) / self.boot_seconds)
        state = BOOT_STATES[min(step, len(BOOT_STATES) - 1)]
        return self.stuck if self.stuck and state == "running" else state

    def shown(self, now: float) -> Mapping[str, Any]:
        """As a list shows it."""
        state = self.state(now)
        return {
            "id": self.id,
            "label": self.label,
            "actual_status": state,
            "intended_status": "running",
            "machine_id": self.offer.machine_id,
            "host_id": self.offer.host_id,
            "dph_total": float(self.usd_per_hour),
            "disk_space": self.body["disk"],
            "image_uuid": self.body["image"],
            "public_ipaddr": "203.0.113.7" if state == "running" else None,
            "ports": {} if state == "running" else None,
        }

    def entry(self, now: float) -> BookEntry:
        """What it was billed so far."""
        until = now if self.ended is None else self.ended
        ends = [*(since for since, _ in self.rates[1:]), until]
        lasted = [Decimal(end) - Decimal(since) for (since, _), end in zip(self.rates, ends, strict=True)]
        usd = sum((rate * each / 3600 for (_, rate), each in zip(self.rates, lasted, strict=True)), Decimal(0))
        hours = sum(lasted, Decimal(0)) / 3600
        return BookEntry(self.id, self.label, self.offer.machine_id, hours, usd.quantize(_STEP_USD), self.traffic_usd)
