"""Has the C library keep a model's memory apart from what the processes forked later will use.

In a template, glibc takes large blocks out of its heap (``workers.sandbox.environment``). What is freed after a model
was loaded would stay there, shared with every fork, and a fork that writes to it copies it page by page. Mapped apart,
it goes back to the system: a fork gets fresh pages, in large ones where it may, and the template is 40 MB smaller.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3
_MAPPED_FROM = 128 << 10
"""Bytes: glibc's own default."""
_SET_BY = "MALLOC_MMAP_THRESHOLD_"


@contextmanager
def mapped_apart() -> Iterator[None]:
    """Map each large block apart meanwhile, and give back what is free then. Without glibc nothing is done."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, int(os.environ.get(_SET_BY) or _MAPPED_FROM))
        libc.malloc_trim(0)
