"""Settings of a pool, ``[pools.NAME]`` in ``yurt.toml``: providers, number of machines, and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webhook.ledger.machines import SLAYING_SECONDS
from webhook.pool_schedule import Schedule
from webhook.provider_settings.base import Usd
from webhook.setting_types import ProviderName, Seconds
from workers.protocol import MAX_LEASES, MAX_WAIT_SECONDS

NO_PROVIDER = "none"
"""``provider`` of a pool whose machines are started by hand."""
WISH_SECONDS = 3_600
"""For which a call of a pool's wake endpoint may want machines at most."""
_DAY_SECONDS = 86_400.0


class Pool(BaseModel):
    """Machines of one kind: their provider, how many there may be, and time limits for each step of their lives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: ProviderName = "local"
    """Mints the machines: ``local``, processes beside the control plane; ``none``: only workers that you start; or one
    of ``[providers.NAME]``."""
    providers: Annotated[tuple[ProviderName, ...], Field(max_length=10)] = ()
    """Several, in place of ``provider``: the next one is asked where one has no machine."""
    choose: Literal["first", "cheapest"] = "first"
    """Which offer is taken: of the first provider that has one, or the cheapest of all."""
    max_usd_per_hour: Usd | None = None
    """Most that one machine may cost, in US dollars an hour, what is paid once included."""
    budget_usd_per_day: Usd | None = None
    """Most that the pool may spend in one day (UTC), in US dollars."""
    life_hours: Annotated[float, Field(gt=0, le=1000)] = 1
    """How long a machine is expected to live: what is paid once is spread over it, to compare prices."""
    limit: Annotated[int, Field(ge=0, le=1000)] = 20
    """Machines at most: those that boot, and those that are being slain, included. 0 empties the pool."""
    minimum: Annotated[int, Field(ge=0, le=1000)] = 0
    """Machines to keep without any work."""
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=50)] = ()
    """Windows of time in which there is another minimum."""
    learn: bool = False
    """Whether a machine boots ahead when work is likely, by what arrived in earlier weeks."""
    slots: Annotated[int, Field(ge=1, le=MAX_LEASES)] = 2
    """Objects that one machine handles at once."""
    headroom: Annotated[float, Field(ge=0, le=10)] = 0
    """Machines beside those that the work needs now, as a share of them, rounded down: for work that grows."""
    idle_seconds: Seconds = 300
    """A surplus machine that had no lease for so long is drained and slain."""
    mint_seconds: Seconds = 30
    """A provider that has not accepted an order after so long has failed."""
    boot_seconds: Seconds = 60
    """A machine that has not called home so long after its intent is slain, and another minted. Where it is not set,
    it is that of the slowest kind among its providers (`BaseProviderSettings.boot_seconds`)."""
    silent_seconds: Seconds = 120
    """A machine that has not called for so long is lost: it is slain."""
    drain_seconds: Seconds = 900
    """A draining machine that still holds leases after so long is slain."""
    orphan_seconds: Seconds = 600
    """A worker leaves by itself when the control plane has not answered for so long."""
    trusted: bool | None = None
    """Whether one machine's word is enough to park an object. By default for machines that are not rented."""
    breaker_failures: Annotated[int, Field(ge=1, le=100)] = 3
    """Failed starts in a row that stop minting."""
    breaker_seconds: Seconds = 60
    """Minting stops for so long; then one machine is tried."""

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.providers and "provider" in self.model_fields_set:
            raise ValueError("provider and providers are both set: leave out provider")
        if NO_PROVIDER in self.providers or len(set(self.providers)) < len(self.providers):
            raise ValueError(f'providers has to name different providers, without "{NO_PROVIDER}"')
        return self

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.minimum > self.limit:
            raise ValueError(f"minimum ({self.minimum}) may not be more than limit ({self.limit})")
        for position, schedule in enumerate(self.schedules):
            if schedule.minimum > self.limit:
                raise ValueError(
                    f"schedules.{position}.minimum ({schedule.minimum}) may not be more than limit ({self.limit})"
                )
        if self.boot_seconds <= self.mint_seconds:
            raise ValueError(
                f"boot_seconds ({self.boot_seconds:g}) must be more than mint_seconds ({self.mint_seconds:g}), "
                "which the provider alone may take to accept the order"
            )
        if self.silent_seconds <= MAX_WAIT_SECONDS:
            raise ValueError(
                f"silent_seconds ({self.silent_seconds:g}) must be more than {MAX_WAIT_SECONDS:g}, the longest poll: "
                "a worker that waits for work would be taken for lost"
            )
        return self

    def with_boot_seconds(self, of_providers: Sequence[float]) -> Self:
        """The pool with the longest ``boot_seconds`` of its providers' kinds, where it sets none itself."""
        if "boot_seconds" in self.model_fields_set or not of_providers:
            return self
        resolved = self.model_copy(update={"boot_seconds": max(of_providers)})
        resolved.model_fields_set.discard("boot_seconds")  # another kind of provider may be named later
        return resolved

    @property
    def reserve_seconds(self) -> int:
        """The longest time for which a machine may still cost once it has to go, or the control plane is lost."""
        return math.ceil(max(self.drain_seconds, self.boot_seconds + self.orphan_seconds)) + SLAYING_SECONDS

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers that mint its machines, in their order; none where only workers that a person starts join."""
        if self.providers:
            return self.providers
        return () if self.provider == NO_PROVIDER else (self.provider,)

    @property
    def is_minted(self) -> bool:
        """Whether providers mint the machines; otherwise only workers that a person starts join."""
        return bool(self.provider_names)

    @property
    def worker_idle_seconds(self) -> float:
        """After how long without a lease a worker leaves by itself.

        Longer than the autoscaler waits, which decides as long as it runs, and than a wish holds; a day where machines
        are kept for hours without work.
        """
        kept = self.minimum or self.schedules or self.learn
        return _DAY_SECONDS if kept else 2 * self.idle_seconds + 60 + WISH_SECONDS
