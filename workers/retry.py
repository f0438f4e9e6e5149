"""Asking again: exponential backoff with full jitter, and no sooner than the other side asked for."""

from __future__ import annotations

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
    """Something on the network went wrong."""

    def __init__(self, message: str, *, transient: bool, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient
        """Whether the same request may succeed in a moment."""
        self.after_seconds = after_seconds
        """Ask again no sooner than this."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how fast to ask again.

    after the n-th failure wait between 0 and ``first · 2ⁿ`` seconds.
    """

    attempts: int | None = None
    """Requests in all; without it, the caller's own time limit ends it."""
    first_seconds: float = 0.2
    longest_seconds: float = 10.0

    def retrying(self) -> AsyncRetrying:
        """Repeats a call for as long as it raises a transient ``NetworkFault``; then raises that fault
        itself."""
        stop = stop_never if self.attempts is None else stop_after_attempt(self.attempts)
        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, NetworkFault) and error.transient),
            stop=stop,
            wait=self._wait,
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after_seconds if isinstance(error, NetworkFault) else 0.0
        return asked + self._jitter(state)

    def _jitter(self, state: RetryCallState) -> float:
        return wait_random_exponential(multiplier=self.first_seconds, max=self.longest_seconds)(state)
