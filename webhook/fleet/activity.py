"""What pools and providers have done since the autoscaler started, as it is logged and reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from webhook.fleet.breaker import BreakerState
from webhook.fleet.providers import ProviderError
from webhook.ledger.database import LedgerUnavailable, LedgerUnusable
from webhook.ledger.machines import Machine, PoolReport, ProviderReport

log = structlog.get_logger()

REASON_CHARACTERS = 500
"""Of an error's text that are logged and reported."""


@dataclass(slots=True)
class PoolActivity:
    """What has become of one pool's machines since the autoscaler started."""

    minted: int = 0
    """Orders that a provider accepted."""
    ready: int = 0
    """Machines that called home."""
    failed: int = 0
    """Starts that failed: not accepted, or not called home in time."""
    last_failure: str = ""
    """Why the last start failed."""
    last_boot_log: str = ""
    """Where the last machine that did not call home has its log, and the log's end."""
    slain: Counter[str] = field(default_factory=Counter)
    """Machines that the provider no longer lists, by the reason they were slain for."""
    breaker: BreakerState = "closed"
    frozen: bool = False
    """Of every provider of it the list fails or cannot be true: nothing is minted, nothing taken for gone."""
    not_minted: str = ""
    """Why nothing is minted though there is work."""

    def report_since(self, failed: int) -> PoolReport:
        """What to report, where ``failed`` failures were reported before."""
        return PoolReport(
            self.breaker, self.frozen, self.failed - failed, self.last_failure, self.last_boot_log, self.not_minted
        )


@dataclass(slots=True)
class ProviderActivity:
    """What one provider did since the autoscaler started."""

    list_failures: int = 0
    unknown_slain: int = 0
    """Machines slain that the ledger did not know; counted each time that one was asked for."""
    last_error: str = ""
    """Why the last list failed."""

    def report_since(self, earlier: ProviderActivity) -> ProviderReport:
        """What to report, where ``earlier`` was reported before."""
        failures, slain = self.list_failures - earlier.list_failures, self.unknown_slain - earlier.unknown_slain
        return ProviderReport(failures, slain, self.last_error)


@contextmanager
def logged_failure(event: str, **about: str | None) -> Iterator[None]:
    """Log a failure instead of raising it: the rest of the turn goes on, and the next turn tries again.

    An outage of the ledger has its own line, which is not repeated at each turn.
    """
    try:
        yield
    except (LedgerUnavailable, LedgerUnusable) as error:
        log.debug(event, **about, error=str(error))
    except Exception as error:
        log.warning(event, **about, **error_fields(error))


def error_fields(error: Exception) -> dict[str, Any]:
    """Fields of a log line about an error: a traceback only for one that is a bug."""
    expected = isinstance(error, ProviderError | TimeoutError | OSError)
    return {"error": reason_of(error), "exc_info": None if expected else error}


def reason_of(error: Exception) -> str:
    """An error's text, or its type where it has none. At most ``REASON_CHARACTERS`` long."""
    return (str(error) or type(error).__name__)[:REASON_CHARACTERS]


def machine_fields(machine: Machine) -> dict[str, str]:
    """Fields of a log line about a machine."""
    return {"label": machine.label, "pool": machine.pool}
