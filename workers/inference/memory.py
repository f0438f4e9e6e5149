"""How much memory models may take, all of a worker together."""

from __future__ import annotations

MOST_BYTES = 16 << 30
_SHARE = 7 / 8
"""Of what there is: a model that needs more is refused before the kernel ends a process for want of memory."""


def limit_bytes(there: int | None) -> int:
    """Bytes of weights and of what runs make of them; mapped libraries and files do not count.

    ``there``: bytes of the machine or container; None: not known.
    """
    return MOST_BYTES if there is None else min(MOST_BYTES, int(there * _SHARE))
