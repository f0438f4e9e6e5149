"""Days on which a provider does all that it can do wrong, played in virtual time with the autoscaler and its fake.

What each kind of provider does worse than the others stands in `bad_places`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from tests.webhook.fleet.fleet_memory import MemoryFleet
from tests.webhook.fleet.providers.fake_api import FakeApi, Reply
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers import Provider
from webhook.ledger.machines import MachineState
from webhook.pool_settings import Pool

LIMIT = 4
_NEVER_CALLS = 0.15
"""The share of machines that run and never call home."""
_IMPATIENT_SECONDS, _PATIENT_SECONDS = 0.5, 30.0
"""Real ones, after which a call that hangs is given up: on bad days, and once nothing hangs any more."""
_RECOVERY_TURNS = 200
"""Of five seconds."""

Deed = Callable[[random.Random], None]
"""Something that goes wrong until the next turn. It draws what exactly."""


class BadPlace(Protocol):
    """A fake of a provider, which the test has turned against its own."""

    @property
    def cloud(self) -> FakeApi: ...

    def provider(self) -> Provider:
        """A provider as after a restart of the control plane."""

    def set_clock(self, clock: Callable[[], float]) -> None:
        """Have books and boots go by this clock."""

    def living(self) -> Sequence[str]:
        """Labels of the machines that were not destroyed."""

    def is_well(self, label: str) -> bool:
        """Whether its worker runs."""

    def make_ill(self, label: str, draw: random.Random) -> None:
        """Put a machine into a state that it does not leave."""

    def reprice(self, label: str, factor: Decimal) -> None:
        """Change what an hour of a machine costs, where the provider shows prices."""

    def deeds(self) -> Sequence[Deed]:
        """What this kind of provider can do wrong beside what all can."""

    def tell_truth(self) -> None:
        """The list shows what there is again."""

    def heal(self) -> None:
        """Nothing goes wrong any more."""

    def books(self) -> Mapping[str, Decimal] | None:
        """What it charges by the hour for each label, in US dollars. None: it keeps none."""


@dataclass
class WatchedFleet(MemoryFleet):
    """Notes whose work is interrupted although the machine was well."""

    is_well: Callable[[str], bool] = lambda _: True
    interrupted: list[str] = field(default_factory=list)

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        row = self.rows[id]
        busy = row.leased > 0 and self.is_well(row.label)
        begun = await super().slaying(id, reason, seen)
        if begun and busy:
            self.interrupted.append(f"{row.label}: {reason}")
        return begun


class BadDays:
    """An autoscaler over a provider on its bad days. A seed draws all that happens."""

    def __init__(self, place: BadPlace, seed: int) -> None:
        self.place = place
        self.draw = random.Random(seed)
        self.fleet = WatchedFleet()
        self._silent: dict[str, bool] = {}
        """Whether a machine never calls home, by label."""
        self.fleet.is_well = self._calls
        place.set_clock(lambda: self.fleet.now)
        self.restart(_IMPATIENT_SECONDS)

    def restart(self, patience_seconds: float) -> None:
        """A new control plane, which remembers nothing."""
        pool = Pool.model_validate({
            "provider": "p", "limit": LIMIT, "slots": 1, "idle_seconds": 60, "boot_seconds": 120,
            "mint_seconds": patience_seconds,
        })  # fmt: skip
        self._autoscaler = Autoscaler(
            self.fleet, {"a": pool}, {"p": self.place.provider()}, url="https://yurt.example.com",
            call_seconds=patience_seconds, clock=lambda: self.fleet.now,
        )  # fmt: skip

    async def play(self, turns: int) -> None:
        """So many turns on which something goes wrong, with work now and then. What must hold holds after each."""
        for _ in range(turns):
            self._go_wrong()
            if self.draw.random() < 0.5:
                await self.fleet.upload("a", self.draw.randrange(5))
            await self._turn(self.draw.choice((1, 5, 20)))
            if self.draw.random() < 0.2:
                self.restart(_IMPATIENT_SECONDS)

    async def recover(self) -> None:
        """Nothing goes wrong any more, after a last restart: until all is done and no machine is left."""
        self.place.cloud.faults.clear()
        self.place.heal()
        self.restart(_PATIENT_SECONDS)
        self._silent = dict.fromkeys(self._silent, False)
        for _ in range(_RECOVERY_TURNS):
            await self._turn(5)
            if not self.fleet.living and not self.fleet.pending["a"]:
                return

    def counted(self) -> set[str]:
        """Labels of the machines whose costs the ledger counts."""
        return {row.label for row in self.fleet.rows.values() if row.ref}

    def hourly_usd(self) -> Decimal:
        """What the ledger has counted by the hour."""
        once = sum((row.terms.usd_once for row in self.fleet.rows.values() if row.ref), Decimal(0))
        return sum(self.fleet.spent.values(), Decimal(0)) - once

    async def _turn(self, seconds: float) -> None:
        await self._autoscaler.tick()
        self._check()
        await self.fleet.advance(seconds)
        for row in [row for row in self.fleet.living.values() if self._calls(row.label)]:
            self.fleet.hello(row.label, row.token)
            await self.fleet.call(row.id)
            await (self.fleet.settle(row.id) if row.leased else self.fleet.take(row.id, 1))

    def _calls(self, label: str) -> bool:
        """Whether a machine is there, well, and calls home."""
        if label not in self.place.living() or not self.place.is_well(label):
            return False
        return not self._silent.setdefault(label, self.draw.random() < _NEVER_CALLS)

    def _check(self) -> None:
        living = self.place.living()
        assert len(living) <= LIMIT, living
        assert len(self.fleet.living) <= LIMIT
        assert not self.fleet.interrupted, self.fleet.interrupted
        bereft = [row.label for row in self.fleet.living.values() if row.leased and row.label not in living]
        assert not bereft, f"destroyed beneath their leases: {bereft}"

    def _go_wrong(self) -> None:
        self.place.cloud.faults.clear()
        self.place.tell_truth()
        self.draw.choice((*self._common(), *self.place.deeds()))(self.draw)

    def _common(self) -> Sequence[Deed]:
        return (self._lose, self._refuse, self._fail_after_effect, self._slow_down, self._hang, self._fall_ill,
                self._change_price)  # fmt: skip

    def _method(self) -> str:
        return self.draw.choice(("GET", self.place.cloud.creation, "DELETE"))

    def _lose(self, draw: random.Random) -> None:
        self.place.cloud.fault(self._method(), draw.choice(("lose", "cut")))

    def _refuse(self, draw: random.Random) -> None:
        self.place.cloud.fault(self._method(), "answer", _server_error(draw))

    def _fail_after_effect(self, draw: random.Random) -> None:
        self.place.cloud.fault(self._method(), "fail", _server_error(draw))

    def _slow_down(self, draw: random.Random) -> None:
        plain = Reply(429, text="API requests too frequent")
        told = Reply(429, {"error": "rate limit exceeded"}, {"Retry-After": "1"})
        for _ in range(draw.randrange(1, 4)):
            self.place.cloud.fault(self._method(), "answer", draw.choice((plain, told)))

    def _hang(self, draw: random.Random) -> None:
        self.place.cloud.fault(self._method(), "hang")

    def _fall_ill(self, draw: random.Random) -> None:
        if living := self.place.living():
            self.place.make_ill(draw.choice(living), draw)

    def _change_price(self, draw: random.Random) -> None:
        self.restart(_IMPATIENT_SECONDS)  # the list is read at once: no call is held back, as after a 429
        for row in self.fleet.alive(MachineState.READY)[:1]:
            self.place.reprice(row.label, Decimal(draw.choice(("0.5", "2"))))


def _server_error(draw: random.Random) -> Reply:
    return Reply(draw.choice((500, 502, 503)), text="upstream connect error")
