"""Providers are asked side by side, each with a deadline, and no worker ends because a command asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tests.simulation.loop import VirtualLoop
from tests.webhook.fleet.asked_provider import AskedProvider
from tests.webhook.plane import configured
from webhook.fleet.open_providers import ask_for_findings, ask_for_labels, ask_for_offers, open_providers
from webhook.fleet.providers import Instance, Offer, ProviderFinding, ProviderRefused
from webhook.fleet.providers.local import LocalProvider
from webhook.secret_settings import Secrets

GOOD = Offer("o-1", Decimal("0.2"))
PROVIDERS = {
    "good": AskedProvider(offered=[GOOD], found=[ProviderFinding(ok=True, message="the key is good")]),
    "full": AskedProvider(),
    "refuses": AskedProvider(error=ProviderRefused("the key is refused", hint="make another")),
    "broken": AskedProvider(error=RuntimeError("boom")),
    "hangs": AskedProvider(hangs=True),
}


async def test_one_that_fails_or_hangs_delays_no_other() -> None:
    sources = await ask_for_offers([*PROVIDERS], PROVIDERS, seconds=0.05)
    assert {source.provider: (tuple(source.offers), source.unavailable) for source in sources} == {
        "good": ((GOOD,), ""),
        "full": ((), ""),
        "refuses": ((), "makes no offer: the key is refused (make another)"),
        "broken": ((), "makes no offer: boom"),
        "hangs": ((), "did not answer within 0.05 s"),
    }


async def test_findings_of_one_that_breaks_its_word_and_raises_or_hangs() -> None:
    found = await ask_for_findings([*PROVIDERS], PROVIDERS, seconds=0.05)
    told = {name: [(one.ok, one.message) for one in answer] for name, answer in zip(PROVIDERS, found, strict=True)}
    assert told["good"] == [(True, "the key is good")]
    assert told["broken"] == [(False, "boom")]
    assert told["hangs"] == [(False, "did not answer within 0.05 s")]


@dataclass
class SlowlyListing(AskedProvider):
    """Its list takes 100 s, which it says."""

    list_seconds: float = 200.0

    async def list(self) -> Sequence[Instance]:
        await asyncio.sleep(100)
        return [Instance("yurt-a-1", "r")]

    async def check(self) -> Sequence[ProviderFinding]:
        return [ProviderFinding(ok=True, message=f"{len(await self.list())} machines")]


def test_one_that_lists_slowly_has_the_time_that_it_says() -> None:
    loop, slow = VirtualLoop(), {"slow": SlowlyListing()}
    [[found]] = loop.run_until_complete(ask_for_findings(["slow"], slow))
    [labels] = loop.run_until_complete(ask_for_labels(["slow"], slow))
    loop.close()
    assert (found.message, labels) == ("1 machines", ["yurt-a-1"])


async def test_a_command_does_not_look_into_the_folder_of_a_control_plane(tmp_path: Path) -> None:
    async with open_providers(configured(), Secrets()) as providers:
        local = providers["local"]
        assert isinstance(local, LocalProvider)
        assert await local.list() == []
    assert [*tmp_path.iterdir()] == []
