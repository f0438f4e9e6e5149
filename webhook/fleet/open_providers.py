"""Asks the configured providers from a command, without a control plane: their offers, and whether they can be used.

Nothing is minted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from webhook.config import Config
from webhook.fleet.activity import reason_of
from webhook.fleet.market import ProviderOffers
from webhook.fleet.provider_calls import list_seconds, within
from webhook.fleet.providers import Provider, ProviderFinding
from webhook.fleet.providers.kinds import make_providers
from webhook.secret_settings import Secrets

ASK_SECONDS = 20.0
"""A provider that has not answered after so long has not answered at all. One that lists slowly has longer for that."""


@contextlib.asynccontextmanager
async def open_providers(config: Config, secrets: Secrets) -> AsyncIterator[Mapping[str, Provider]]:
    """Make all providers, and close them at the end. Raises ConfigError where a key is missing.

    In a folder of their own: a local provider ends the workers of its folder when it is closed, and those in the folder
    of a control plane are that one's.
    """
    with TemporaryDirectory(prefix="yurt-") as folder:
        providers = make_providers(config, secrets, Path(folder))
        try:
            yield providers
        finally:
            await asyncio.gather(*(provider.aclose() for provider in providers.values()), return_exceptions=True)


async def ask_for_offers(
    names: Sequence[str], providers: Mapping[str, Provider], seconds: float = ASK_SECONDS
) -> list[ProviderOffers]:
    """What each of some providers offers now, side by side. One that fails or hangs delays no other."""
    return await asyncio.gather(*(_offers(name, providers[name], seconds) for name in names))


async def _offers(name: str, provider: Provider, seconds: float) -> ProviderOffers:
    try:
        return ProviderOffers(name, await within(provider.offers(), seconds))
    except TimeoutError:
        return ProviderOffers(name, (), unavailable=f"did not answer within {seconds:g} s")
    except Exception as error:
        return ProviderOffers(name, (), unavailable=f"makes no offer: {reason_of(error)}")


async def ask_for_findings(
    names: Sequence[str], providers: Mapping[str, Provider], seconds: float = ASK_SECONDS
) -> list[Sequence[ProviderFinding]]:
    """What each of some providers finds out about itself, side by side."""
    return await asyncio.gather(*(_findings(providers[name], seconds) for name in names))


async def ask_for_labels(
    names: Sequence[str], providers: Mapping[str, Provider], seconds: float = ASK_SECONDS
) -> list[Sequence[str]]:
    """The labels that each of some providers lists, side by side; none of one that does not answer."""
    return await asyncio.gather(*(_labels(providers[name], seconds) for name in names))


async def _labels(provider: Provider, seconds: float) -> Sequence[str]:
    try:
        return sorted(instance.label for instance in await within(provider.list(), list_seconds(provider, seconds)))
    except Exception:  # whether it can be used is told by its own findings
        return ()


async def _findings(provider: Provider, seconds: float) -> Sequence[ProviderFinding]:
    seconds = list_seconds(provider, seconds)  # it lists, too
    try:
        return await within(provider.check(), seconds)
    except TimeoutError:
        hint = "Is it up, and does this machine reach it?"
        return [ProviderFinding(ok=False, message=f"did not answer within {seconds:g} s", hint=hint)]
    except Exception as error:
        return [ProviderFinding(ok=False, message=reason_of(error))]
