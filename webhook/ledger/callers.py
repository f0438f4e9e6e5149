"""The worker that sent a call, and the pipelines that are paused on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated worker: the machine that the token of a call belongs to."""

    id: int
    pool: str
    label: str
    draining: bool
    paused: frozenset[int] = frozenset()
    """Numbers of pipelines whose handlers cannot run on it, and are not to be tried yet."""
    trying: frozenset[int] = frozenset()
    """Numbers of pipelines whose handlers could not run on it, and are to be tried again, with one object."""
    usd_per_hour: Decimal = Decimal(0)
    """What its machine costs."""
    service: str = ""
    """Which service it serves; empty: none."""
    kept: bool = False
    """Whether it is kept for that service, and so gets no leases."""
    asked: bool = True
    """Whether it has asked for work before."""


def pauses(unavailable: str, moment: float) -> tuple[frozenset[int], frozenset[int]]:
    """Pipelines that are paused on a worker, and those that are to be tried again."""
    if unavailable == "{}":
        return frozenset(), frozenset()
    retries = {int(number): pause["retry_at"] for number, pause in json.loads(unavailable).items()}
    paused = frozenset(number for number, retry_at in retries.items() if retry_at > moment)
    return paused, frozenset(retries) - paused
