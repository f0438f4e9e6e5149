"""Notices a client that does not keep its calls apart."""

from __future__ import annotations

from collections import defaultdict, deque

SPACINGS = {"search": 6.0, "create": 4.5, "destroy": 3.0, "list": 1.0, "show": 2.0}
"""Seconds between two calls of a kind."""
_TOO_MANY = 4


class RateLimits:
    """Calls of each kind, and whether they come too fast.

    One call may be delayed on its way and arrive right before the next. So four that come within the time of one and a
    half spacings are too many: a client that keeps them apart is three spacings long about that.

    Args:
        scale: Of all spacings.

    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._calls: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_TOO_MANY))

    def too_fast(self, kind: str, now: float) -> bool:
        """Count a call, and say whether it came too early."""
        calls = self._calls[kind]
        calls.append(now)
        return len(calls) == _TOO_MANY and now - calls[0] < 1.5 * self._scale * SPACINGS[kind]
