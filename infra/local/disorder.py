"""What happens to an event between hub and webhook, decided by the seed and the event's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from infra.local.options import Disorder

OVERTAKEN_SECONDS = 0.25
"""Longest that a reordered event waits for later ones to overtake it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one event."""

    dropped: bool = False
    reordered: bool = False
    held: bool = False
    wait_seconds: float = 0.0
    """Before it is posted for the first time."""
    copy_wait_seconds: float | None = None
    """Before its copy is; None: it is not sent twice."""


def fate(disorder: Disorder, number: int) -> Fate:
    """Decide what happens to the nth event.

    Every knob draws numbers of its own, so that turning one leaves what the others do as it was.
    """
    random = Random(f"{disorder.seed}/{number}")
    drop, duplicate, reorder, hold, overtaken, late, copy_wait = (random.random() for _ in range(7))
    reordered, held = reorder < disorder.reorder_share, hold < disorder.hold_share
    return Fate(
        dropped=drop < disorder.drop_share,
        reordered=reordered,
        held=held,
        wait_seconds=held * disorder.hold_seconds + reordered * overtaken * OVERTAKEN_SECONDS,
        # Half of the copies travel with the original or right after it, half come later.
        copy_wait_seconds=(late < 0.5) * copy_wait * disorder.hold_seconds
        if duplicate < disorder.duplicate_share
        else None,
    )
