"""Decides from earlier weeks whether work is likely soon, so that a machine can boot before it comes. Pure.

The rule, for a pool with ``learn = true``:

1. An hour of the week is *likely* if something arrived in it in three of four of the last weeks, or more: six whole
   weeks at most, and at least two, before which nothing is learned.
2. An hour that follows a likely one stays likely as long as something arrived in it in half of the weeks: a machine is
   not let go for an hour that is a little weaker than its neighbours. This is reckoned from the weeks alone, so that a
   restart and a second replica come to the same.
3. One machine is wanted from the usual boot time before a likely hour begins until it ends.

The idea is that of the histogram policy in M. Shahrad et al., "Serverless in the Wild: Characterizing and Optimizing
the Serverless Workload at a Large Cloud Provider", USENIX ATC 2020: remember when work came, boot shortly before it
comes again, and do nothing where the past is too short or too even to tell. There the histogram is of the time between
two calls of a function; here it is of the hours of the week, since what people upload follows their days.
"""

from __future__ import annotations

import math
from datetime import datetime
from fractions import Fraction

from webhook.ledger.arrivals import ArrivalHistory

LEAST_WEEKS = 2
"""Before so many whole weeks are known nothing is learned."""
LIKELY = Fraction(3, 4)
"""Of the weeks in which something arrived in an hour, for that hour to be likely."""
STILL_LIKELY = Fraction(1, 2)
"""The same for an hour that follows a likely one."""
HOURS_OF_WEEK = 168
_MONDAY = 72
"""Hours from the Monday before the epoch, a Thursday."""


def is_work_likely(history: ArrivalHistory, now: datetime, within_seconds: float) -> bool:
    """Whether some hour that is likely has begun, or will begin so soon."""
    if history.weeks < LEAST_WEEKS:
        return False
    first = math.floor(now.timestamp() / 3600)
    last = math.floor((now.timestamp() + within_seconds) / 3600)
    return any(_is_likely(history, hour + _MONDAY) for hour in range(first, min(last, first + HOURS_OF_WEEK) + 1))


def _is_likely(history: ArrivalHistory, hour: int) -> bool:
    """Whether an hour is likely by itself, or follows one that is."""
    for before in range(HOURS_OF_WEEK):
        share = Fraction(history.busy_weeks.get((hour - before) % HOURS_OF_WEEK, 0), history.weeks)
        if share >= LIKELY:
            return True
        if share < STILL_LIKELY:
            return False
    return False
