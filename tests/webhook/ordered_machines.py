"""Machines that a provider has accepted, for tests of what operators are shown of them."""

from __future__ import annotations

from decimal import Decimal

from tests.webhook.plane import RunningPlane
from webhook.ledger.machines import Intent, Terms


async def intended(plane: RunningPlane, provider: str = "local", ref: str = "r-1") -> Intent:
    """Write the intent of a machine; where ``ref`` is not empty, the provider has accepted it."""
    terms = Terms(Decimal("0.36"), Decimal("0.02"), 600, offer="o-7", machine="m-7", host="h-7")
    intent = await plane.services.fleet.intend("local", provider, 20, terms)
    assert isinstance(intent, Intent)
    if ref:
        await plane.services.fleet.minted(intent.id, ref)
    return intent
