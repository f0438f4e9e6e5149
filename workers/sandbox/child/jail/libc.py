"""Calls of the C library that Python does not offer. Loaded once: a jail is entered for each file."""

from __future__ import annotations

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
