"""Counts each lease's share of its machine's time, from which the cost of a result is reckoned.

Where a machine holds at most as many leases as it has slots, each lease uses the time of one slot: ``1 / slots`` of the
machine's. Where it holds more (some are fetched or published beside those in the handler), they share all of it. So at
every moment::

    share of one lease = 1 / max(slots, leases held)

The ledger splits the machine's cost by the same rule (``accrue`` in ``webhook/ledger/queries.sql``): what all leases
cost together is what it counts as work, and never more than the machine costs. Slots without a lease are idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

_SECOND_NS = Decimal(10**9)
_HOUR_SECONDS = 3600
_DIGITS = Decimal("1E-12")
"""Of US dollars that are written: a millisecond at a cent an hour has ten."""


class SlotTime:
    """Adds up the share that one lease has of the machine's time, for as long as leases are held."""

    def __init__(self, slots: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """``clock`` tells nanoseconds, so that nothing is rounded in binary."""
        self._slots = slots
        self._clock = clock
        self._leases = 0
        self._read_at = clock()
        self._seconds = Decimal(0)

    def begin(self) -> LeaseShare:
        """Note that a lease is held from now on."""
        began = self.seconds()
        self._leases += 1
        return LeaseShare(self, began)

    def end(self) -> None:
        """Note that a lease is held no more."""
        self.seconds()
        self._leases -= 1

    def seconds(self) -> Decimal:
        """The share that a lease would have, had it been held from the beginning, in seconds of the whole machine."""
        now = self._clock()
        self._seconds += (now - self._read_at) / (_SECOND_NS * max(self._slots, self._leases))
        self._read_at = now
        return self._seconds


class LeaseShare:
    """The share of one lease, from its begin until now."""

    def __init__(self, of: SlotTime, began: Decimal) -> None:
        self._of = of
        self._began = began

    def usd(self, usd_per_hour: str | None) -> str | None:
        """What the lease has cost up to now, where the machine has this price; None: it has none."""
        if usd_per_hour is None:
            return None
        usd = Decimal(usd_per_hour) * (self._of.seconds() - self._began) / _HOUR_SECONDS
        return format(usd.quantize(_DIGITS), "f")
