"""Errors of packing."""

from __future__ import annotations

from yurt.errors import YurtError


class PackingError(YurtError):
    """The module cannot be packed. The message says why, and what to do."""
