"""Keeps one provider of each name for a whole control plane: the autoscaler's, which the API asks too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from webhook.fleet.activity import reason_of
from webhook.fleet.provider_calls import within
from webhook.fleet.providers import ProviderError

if TYPE_CHECKING:
    from webhook.fleet.providers import Provider

LOG_SECONDS = 8.0
"""A provider has so long to give a machine's log: less than ``yurt`` waits for an answer."""


class ProviderSet:
    """The providers of a control plane, by name.

    A replica that stops leading closes them, since local workers end then; it may lead again, or be asked for a log, so
    new ones take their place at once.
    """

    def __init__(self, make: Callable[[], Mapping[str, Provider]]) -> None:
        """``make`` makes all of them. Raises what it raises."""
        self._make = make
        self.by_name = make()

    async def renew(self) -> None:
        """Close all, and put new ones in their place."""
        closing, self.by_name = self.by_name, self._make()
        await _close(closing)

    async def aclose(self) -> None:
        """Close all for good."""
        await _close(self.by_name)

    async def log(self, provider: str, label: str) -> str:
        """Return the end of what a machine printed; empty where nothing is known of it.

        Raises ProviderError, also where there is no such provider or it does not answer in time.
        """
        asked = self.by_name.get(provider)
        if asked is None:
            raise ProviderError(f"there is no provider {provider} in the configuration")
        try:
            return await within(asked.boot_log(label), LOG_SECONDS)
        except TimeoutError:
            raise ProviderError(f"provider {provider} did not answer within {LOG_SECONDS:g} s") from None
        except ProviderError:
            raise
        except Exception as error:  # it may be closed in this very moment
            raise ProviderError(f"provider {provider}: {reason_of(error)}") from error


async def _close(providers: Mapping[str, Provider]) -> None:
    await asyncio.gather(*(provider.aclose() for provider in providers.values()))
