"""Calls are kept apart, and callers sent away where too many wait."""

from __future__ import annotations

import asyncio
import time

import pytest

from webhook.fleet.providers import ProviderBusy
from webhook.fleet.providers.spacing import Spacing


async def test_calls_that_come_together_go_one_after_the_other() -> None:
    spacing, begun = Spacing("Fly", 0.05), time.monotonic()
    await asyncio.gather(*(spacing.wait() for _ in range(4)))
    assert time.monotonic() - begun >= 3 * 0.05


async def test_a_caller_that_would_wait_for_too_long_is_sent_away() -> None:
    spacing = Spacing("Fly", 10, longest_seconds=5)
    await spacing.wait()
    with pytest.raises(ProviderBusy, match="Fly takes a call each 10 s"):
        await spacing.wait()
