"""Repeats requests: exponential backoff with full jitter, and no sooner than a ``Retry-After`` allows."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)


class NetworkFault(Exception):
    """A request did not succeed."""

    def __init__(self, message: str, *, transient: bool, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient
        """Whether the same request may succeed in a moment."""
        self.after_seconds = after_seconds
        """Repeat the request no sooner than this."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how fast a request is repeated.

    After the n-th failure the wait is between 0 and ``first · 2ⁿ`` seconds, at most ``longest``. Full jitter, not a
    fixed wait: agents that lost the control plane together must not come back together.
    """

    attempts: int | None = None
    """Requests in all; without it, the caller's own time limit ends it."""
    first_seconds: float = 0.2
    longest_seconds: float = 10.0

    def retrying(self) -> AsyncRetrying:
        """Return a repeater: it calls until there is no transient ``NetworkFault``, and raises the last one itself."""
        stop = stop_never if self.attempts is None else stop_after_attempt(self.attempts)
        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, NetworkFault) and error.transient),
            stop=stop,
            wait=self._wait,
            reraise=True,
        )

    def pause_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row, where there is no request to be repeated.

        Between half of ``first · 2ⁿ⁻¹`` and the whole, which is ``longest`` at most: what fails at once must not be
        tried again at once.
        """
        whole = min(self.first_seconds * 2.0 ** min(failures - 1, 50), self.longest_seconds)
        return whole * random.uniform(0.5, 1.0)  # noqa: S311

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        after = error.after_seconds if isinstance(error, NetworkFault) else 0.0
        return after + self._jitter(state)

    def _jitter(self, state: RetryCallState) -> float:
        return wait_random_exponential(multiplier=self.first_seconds, max=self.longest_seconds)(state)
