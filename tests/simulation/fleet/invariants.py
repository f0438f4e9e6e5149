"""What must hold at every moment of a simulated day, by the providers' own books and by the machines as they are."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.simulation.fleet.watched_machine import HANGING_SECONDS
from tests.simulation.world import BrokenInvariant
from tests.webhook.fleet.fleet_memory import MachineRow
from webhook.fleet.providers import Instance, MintOrder
from webhook.fleet.scaling import SPARE_SECONDS, STARTING
from webhook.ledger.machines import MachineState

if TYPE_CHECKING:
    from tests.simulation.fleet.day import SimulatedDay

LIMIT = "machines, ordered ones included, never exceed the limit"
BUDGET = "what providers charge for a day never exceeds its budget"
COUNTED = "what is destroyed was noted before, so that what it costs is counted"
KNOWN = "no machine is unknown for more than two minutes"
BUSY = "nothing busy is slain by scaling"
ON_ITS_WAY = "where there is work or a wish, room and money, a machine is on its way"
NEEDED = "one leader starts no more machines than work or a wish wants"
KEPT = "nothing is kept that neither work nor a wish wants"
ORPHANS = "a machine that lost the control plane ends itself"
SLAIN_ITSELF = "a machine whose agent has ended or hangs is gone from its provider by itself"
OTHERS = "a machine of another installation of the same name is never slain"
BESIDE = "nothing is minted beside machines of another installation of the same name"
SILENT = "a machine that must have ended itself is given up within a minute, however often the control plane restarts"
CONDEMNED = "a machine that an operator slew is gone within ten minutes"
COSTS = "what the ledger says that machines have cost is what providers charge for them, but for a hundredth"
DEAR = "a machine that costs more than one may is let go within a minute"
AVOIDED = "a machine that did not boot is not rented again within a day"

_UNKNOWN_SECONDS = 120.0
_WAY_SECONDS = 30.0
_SLAYING_SECONDS = 900.0
"""Of attempts to destroy itself, some of which fail."""
_KEPT_SECONDS = 240.0
"""For several turns, since half of what is surplus leaves at a time."""
_NOTICED_SECONDS = 60.0
_GONE_SECONDS = 600.0
_GIVEN_UP_SECONDS = 60.0
"""Less than `silent_seconds`: what has restarted since is not to count its silence anew."""
_TICK_SECONDS = 4.0
_OF_SCALING = frozenset({"drained", "idle", "limit", "moved", "price", "budget"})


@dataclass
class FleetInvariants:
    """Looks at the whole day after every step."""

    day: SimulatedDay
    unknown_since: dict[str, float] = field(default_factory=dict)
    waiting_since: float | None = None
    needs: deque[tuple[float, int]] = field(default_factory=deque)
    """How many machines work or a wish wanted, in the last minute."""
    kept_since: float | None = None
    """Since when there has been a machine all the time that has long been idle and nothing wants."""
    failed_boots: dict[tuple[str, str], float] = field(default_factory=dict)
    dear_since: dict[str, float] = field(default_factory=dict)
    """Since when the ledger knows that a machine costs more than one may, by label."""
    condemned_at: dict[str, float] = field(default_factory=dict)
    """When an operator slew a machine, by label."""

    def check(self) -> None:
        """Check everything. Raises BrokenInvariant."""
        self._limit()
        self._budget()
        self._unknown()
        self._orphans()
        self._slain_themselves()
        self._silent()
        self._dear()
        self._on_its_way()
        self._condemned()
        self._note_need()
        self._kept()

    def _limit(self) -> None:
        rows = self.day.fleet.living
        there = sum(machine.is_intended for market in self.day.markets.values() for machine in market.alive)
        if max(len(rows), there) > self.day.pool.limit:
            raise BrokenInvariant(LIMIT, f"{len(rows)} rows, {there} machines, limit {self.day.pool.limit}")

    def _budget(self) -> None:
        budget = self.day.pool.budget_usd_per_day
        if budget is None:
            return
        today = int(self.day.now // 86_400)
        charged = sum((market.charged(today) for market in self.day.markets.values()), Decimal(0))
        # What no ledger could know is noted once a minute.
        unsure = self.day.dearer and self.day.dearer + self.day.minute_usd
        if charged > budget + unsure:
            raise BrokenInvariant(BUDGET, f"{charged:.4f} $ of {budget} $ on day {today}")

    def _unknown(self) -> None:
        known = {row.label for row in self.day.fleet.living.values()}
        for market in self.day.markets.values():
            for machine in market.alive:
                label = machine.order.label
                if (
                    machine.others
                    or label in known
                    or not self.day.up
                    or self.day.now - market.faulty_list_at < _UNKNOWN_SECONDS
                ):
                    self.unknown_since.pop(label, None)
                    continue
                since = self.unknown_since.setdefault(label, self.day.now)
                if self.day.now - since > _UNKNOWN_SECONDS:
                    raise BrokenInvariant(KNOWN, f"{label} at {market.name}")

    def _orphans(self) -> None:
        pool = self.day.pool
        longest_seconds = pool.boot_seconds + pool.orphan_seconds + 60
        if not self.day.up and self.day.now - self.day.down_since > longest_seconds:
            alive = [machine for market in self.day.markets.values() for machine in market.alive]
            if working := [one.ref for one in alive if one.boots and one.lost_at is None]:
                raise BrokenInvariant(ORPHANS, f"{', '.join(working)} go on")

    def _slain_themselves(self) -> None:
        for market in self.day.markets.values():
            for machine in market.alive:
                if not machine.self_destroys or machine.lost_at is None:
                    continue
                longest_seconds = _SLAYING_SECONDS + (HANGING_SECONDS if machine.hangs else 0)
                if self.day.now - machine.lost_at > longest_seconds:
                    raise BrokenInvariant(SLAIN_ITSELF, f"{machine.ref} is still there, its agent is not")

    def _dear(self) -> None:
        """By the ledger's prices: a provider's own are noted once its list shows them."""
        day, limit = self.day, self.day.pool.max_usd_per_hour
        if limit is None:
            return
        stays = (*STARTING, MachineState.READY)
        dear = [r.label for r in day.fleet.living.values() if r.state in stays and r.terms.usd_per_hour > limit]
        since = {label: self.dear_since.get(label, day.now) for label in dear}
        self.dear_since = since if self._has_run(_GIVEN_UP_SECONDS) else {}
        if any(day.now - at > _GIVEN_UP_SECONDS + day.slowest_turn for at in self.dear_since.values()):
            raise BrokenInvariant(DEAR, ", ".join(dear))

    def _has_run(self, seconds: float) -> bool:
        """Whether the control plane has been there for so long, and for a turn."""
        return self.day.up and self.day.now - self.day.up_since >= seconds + self.day.slowest_turn

    def _silent(self) -> None:
        day, pool = self.day, self.day.pool
        if not self._has_run(_GIVEN_UP_SECONDS):
            return
        longest_seconds = pool.orphan_seconds + pool.silent_seconds + _GIVEN_UP_SECONDS + day.slowest_turn
        for row in day.fleet.living.values():
            called_home = row.state in (MachineState.READY, MachineState.DRAINING)
            if called_home and day.now - row.heard > longest_seconds:
                raise BrokenInvariant(SILENT, f"{row.label} since {row.heard:.0f} s")

    def _on_its_way(self) -> None:
        """Once no more faults happen: before that a breaker or a provider without room may be right."""
        day = self.day
        rows = day.fleet.living.values()
        starting = [r for r in rows if r.state in STARTING]
        coming = [*starting, *(r for r in rows if r.state is MachineState.READY)]
        # Of several that are wanted, a breaker may let one be tried after the other.
        work = day.fleet.pending["a"] or day.service.waiting
        wanted = (work and not coming) or (day.foresight.wanted(day.now) > len(coming) and not starting)
        spare_seconds = 0 if work else SPARE_SECONDS
        may = (
            day.draws.faults_over and day.up and wanted and len(rows) < day.pool.limit
            and day.affords_one(spare_seconds)
            and any(len(m.alive) < m.capacity and not m.contested and m.offers_any for m in day.markets.values())
        )  # fmt: skip
        if not may:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = day.now
        elif day.now - self.waiting_since > _WAY_SECONDS + day.pool.breaker_seconds + day.slowest_turn:
            wishes = day.foresight.wanted(day.now)
            waits = f"{day.fleet.pending['a']} objects, {len(day.service.waiting)} requests and {wishes} wishes"
            raise BrokenInvariant(ON_ITS_WAY, f"{waits} wait since {self.waiting_since:.0f} s")

    def _condemned(self) -> None:
        day = self.day
        for market in day.markets.values():
            heard_since = max(day.up_since, market.faulty_list_at)
            for machine in market.alive if day.up else ():
                at = self.condemned_at.get(machine.order.label)
                if at is not None and day.now - max(at, heard_since) > _GONE_SECONDS:
                    raise BrokenInvariant(CONDEMNED, f"{machine.order.label} at {market.name}")

    def check_costs(self) -> None:
        """Compare the ledger's costs with the providers' books, once the day is over. Raises BrokenInvariant."""
        books = sum((one.charged(day) for one in self.day.markets.values() for day in self._days()), Decimal(0))
        ledger = self.day.fleet.costs()
        self.day.counts["cents in the ledger"] += round(ledger * 100)
        self.day.counts["cents in the books"] += round(books * 100)
        if abs(ledger - books) > books / 100 + self.day.minute_usd + self._unseen_usd():
            raise BrokenInvariant(COSTS, f"{ledger:.4f} $ in the ledger, {books:.4f} $ in the books")

    def _unseen_usd(self) -> Decimal:
        """What no ledger can know: a machine ended while the control plane was away, or its list lagged or failed."""
        pool, day = self.day.pool, self.day
        itself_seconds = pool.boot_seconds + pool.orphan_seconds
        unseen = Decimal(0)
        for market in day.markets.values():
            for machine in market.machines.values():
                if machine.is_intended and machine.ended is not None:
                    noticed = day.now if machine.noticed is None else machine.noticed
                    seconds = min(noticed - machine.ended, itself_seconds) + market.lag_seconds / 4 + _TICK_SECONDS
                    unseen += machine.usd_per_hour * Decimal(seconds) / 3600
        return unseen

    def _days(self) -> range:
        return range(int(self.day.now // 86_400) + 1)

    def _note_need(self) -> None:
        day = self.day
        work = day.fleet.pending["a"] + sum(row.leased for row in day.fleet.living.values())
        machines = math.ceil(work / day.pool.slots)
        machines += int(machines * day.pool.headroom)
        self.needs.append((day.now, max(machines + day.service.needed(), day.foresight.allowed(day.now))))
        while self.needs[0][0] < day.now - 60:
            self.needs.popleft()

    @property
    def _most_needed(self) -> int:
        return max(self.day.pool.minimum, *(machines for _, machines in self.needs))

    def _kept(self) -> None:
        day = self.day
        ready = [row for row in day.fleet.living.values() if row.state is MachineState.READY]
        idle = [row for row in ready if not self._busy(row) and self._idle_seconds(row) > self._keep_seconds(row)]
        if not day.up or not idle or len(ready) <= self._most_needed:
            self.kept_since = None
        elif self.kept_since is None:
            self.kept_since = day.now
        elif day.now - self.kept_since > _KEPT_SECONDS + day.slowest_turn:
            raise BrokenInvariant(KEPT, f"{len(idle)} machines are idle, {self._most_needed} are wanted")

    def _busy(self, row: MachineRow) -> int:
        """Leases that a machine holds, and requests that it works on."""
        return row.leased + self.day.service.serving(row)

    def _keep_seconds(self, row: MachineRow) -> float:
        """For how long a machine may be idle: by its service, or else by its pool."""
        service = self.day.service
        return service.idle_seconds if row.id in service.under_way else self.day.pool.idle_seconds

    def _idle_seconds(self, row: MachineRow) -> float:
        return self.day.now - (row.worked or self.day.now)

    # ── at single events ─────────────────────────────────────────────────────────────────────────────────────────────

    def intended(self) -> None:
        """Look at an intent that was just written."""
        rows = self.day.fleet.living.values()
        coming = sum(row.state in STARTING or row.state is MachineState.READY for row in rows)
        self._note_need()
        if coming > self._most_needed and self.day.now > self.day.two_until:
            self.day.fail(BrokenInvariant(NEEDED, f"{coming} machines where {self._most_needed} are wanted"))

    def ordered(self, provider: str, order: MintOrder) -> None:
        """Look at an order."""
        at = self.failed_boots.get((provider, order.offer.machine))
        if at is not None and self.day.now - at < 86_000:
            self.day.fail(BrokenInvariant(AVOIDED, f"machine {order.offer.machine} of {provider}"))
        market = self.day.markets[provider]
        # The list has to show them, and a turn to be over.
        believed_seconds = _NOTICED_SECONDS + market.lag_seconds + self.day.slowest_turn
        since = max([machine.began for machine in market.alive if machine.others], default=self.day.now)
        if self.day.now - max(since, market.faulty_list_at) > believed_seconds:
            self.day.fail(BrokenInvariant(BESIDE, f"at {provider}"))

    def condemned(self, row: MachineRow) -> None:
        """Note a machine that an operator has just slain."""
        self.condemned_at[row.label] = self.day.now

    def slain(self, id: int, reason: str, seen: MachineState) -> None:
        """Look at a machine that is being slain."""
        row = self.day.fleet.rows[id]
        if self._busy(row) and reason in _OF_SCALING:
            held = f"{row.leased} leases and {self.day.service.serving(row)} requests"
            self.day.fail(BrokenInvariant(BUSY, f"{row.label} has {held}, {reason}"))
        # One that had nobody to call home to is not to blame.
        had_time = self.day.now - self.day.up_since >= self.day.pool.boot_seconds
        if seen is MachineState.BOOTING and reason == "boot-deadline" and had_time:
            self.failed_boots[row.provider, row.terms.machine] = self.day.now

    def destroyed(self, provider: str, instance: Instance) -> None:
        """Look at an order to destroy a machine."""
        machine = self.day.markets[provider].machines.get(instance.ref)
        if machine and machine.others:
            self.day.fail(BrokenInvariant(OTHERS, f"{instance.label} at {provider}"))
        for row in self.day.fleet.living.values():
            if row.label == instance.label and row.state in (MachineState.READY, MachineState.DRAINING):
                self.day.fail(BrokenInvariant(BUSY, f"{row.label} at {provider} is destroyed, and was not revoked"))
            if row.label == instance.label and row.ref is None:
                self.day.fail(BrokenInvariant(COUNTED, f"{row.label} at {provider}"))
