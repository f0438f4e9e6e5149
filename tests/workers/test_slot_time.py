"""A lease costs its share of its machine's time, and all leases together never more than the machine."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from workers.slot_time import LeaseShare, SlotTime

SECOND = 10**9


class NanosecondClock:
    """Nanoseconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def usd(share: LeaseShare, usd_per_hour: str = "3600") -> Decimal:
    text = share.usd(usd_per_hour)
    assert text is not None
    return Decimal(text)


def test_a_lease_alone_uses_one_slot() -> None:
    clock = NanosecondClock()
    time = SlotTime(4, clock)
    clock.advance(100)
    share = time.begin()
    clock.advance(2)
    assert usd(share) == Decimal("0.5")


def test_leases_beyond_the_slots_share_the_machine() -> None:
    clock = NanosecondClock()
    time = SlotTime(1, clock)
    first = time.begin()
    clock.advance(1)
    second = time.begin()
    clock.advance(1)
    assert (usd(first), usd(second)) == (Decimal("1.5"), Decimal("0.5"))
    time.end()
    clock.advance(1)
    assert usd(second) == Decimal("1.5")


def test_an_amount_is_exact_text_and_nothing_where_there_is_no_price() -> None:
    clock = NanosecondClock()
    share = SlotTime(1, clock).begin()
    clock.advance(0.001)
    assert share.usd("0.36") == "0.000000100000"
    assert share.usd(None) is None


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(1, 10**10), st.booleans()), max_size=40))
def test_all_leases_together_cost_the_slots_that_hold_them(slots: int, steps: list[tuple[int, bool]]) -> None:
    clock = NanosecondClock()
    time = SlotTime(slots, clock)
    held: list[LeaseShare] = []
    ended = expected = Decimal(0)
    for nanoseconds, begins in steps:
        if begins:
            held.append(time.begin())
        elif held:
            ended += usd(held.pop(0))
            time.end()
        clock.now += nanoseconds
        expected += Decimal(nanoseconds) / SECOND * len(held) / max(slots, len(held))
    together = ended + sum((usd(share) for share in held), Decimal(0))
    assert abs(together - expected) < Decimal("1E-9")
