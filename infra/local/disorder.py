"""Decides which events are dropped, repeated, reordered or held back, from the seed and the event's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from infra.local.options import Disorder

OVERTAKEN_SECONDS = 0.25
"""Longest that a reordered event waits for later ones to overtake it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to an event between hub and webhook."""

    dropped: bool = False
    reordered: bool = False
    held: bool = False
    wait_seconds: float = 0.0
    """Before the event is posted for the first time."""
    copy_wait_seconds: float | None = None
    """Before its copy is posted. None: there is no copy."""


def fate(disorder: Disorder, number: int) -> Fate:
    """Decide what happens to the nth event.

    Each share is compared with a random number of its own, so that a changed share changes nothing of the others.
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
