"""Windows of time in which a pool keeps a minimum of machines: ``schedules`` of a pool.

A window begins whenever its cron expression says, by the wall clock of its time zone, and lasts for a number of hours
that pass. Where clocks are set forward or back, the expression is read as Debian's cron reads it: what begins at a time
that is left out begins right after, and what begins at a time that comes twice begins once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_CRON_FIELDS = 5


def _cron(value: str) -> str:
    try:
        if len(value.split()) != _CRON_FIELDS:
            raise CronSimError(f"it has {len(value.split())} fields")
        next(CronSim(value, _SOME_DAY))
    except CronSimError as error:
        raise ValueError(
            f"has to be minute, hour, day of month, month and day of week: 0 8 * * mon-fri ({error})"
        ) from None
    except StopIteration:
        raise ValueError("never comes: there is no such day") from None
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError):  # also names that are paths, or folders of the database
        raise ValueError(
            "is no time zone that this machine knows: name one of the IANA database, like Europe/Berlin or UTC"
        ) from None
    return value


class Schedule(BaseModel):
    """One kind of window: when it begins, how long it lasts, and how many machines are kept in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: Annotated[str, Field(max_length=100), AfterValidator(_cron)]
    """When windows begin: minute, hour, day of month, month, day of week."""
    hours: Annotated[float, Field(gt=0, le=168)]
    """How long each lasts."""
    minimum: Annotated[int, Field(ge=1, le=1000)] = 1
    """Machines to keep in it without any work."""
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = "UTC"
    """Whose wall clock the expression means, by its name in the IANA database."""

    def is_open(self, now: datetime) -> bool:
        """Whether a window has begun and not ended."""
        # Windows begin at whole minutes: what begins after the minute before is what is open, if it has begun.
        since = (now - timedelta(hours=self.hours)).astimezone(UTC).replace(second=0, microsecond=0)
        begins = _next_after(self.cron, self.time_zone, since)
        return begins is not None and begins <= now


@lru_cache(maxsize=1024)  # asked at each turn of each pool, and a rare day is far away
def _next_after(cron: str, time_zone: str, moment: datetime) -> datetime | None:
    """When the first window begins that begins after a whole minute; None: none does."""
    found = CronSim(cron, moment.astimezone(ZoneInfo(time_zone)))
    # By the wall clock alone an hour that comes twice cannot be told apart: in the second, the first is found again.
    return next((begins for begin in found if (begins := begin.astimezone(UTC)) > moment), None)


def scheduled_minimum(schedules: Iterable[Schedule], now: datetime) -> int:
    """How many machines are to be kept now: the most of all windows that are open."""
    return max((schedule.minimum for schedule in schedules if schedule.is_open(now)), default=0)
