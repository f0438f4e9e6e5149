"""Finds rented machines that could not call home: by the control plane's URL, and where the machines are."""

from __future__ import annotations

from webhook.config import Config, Definitions
from webhook.config_faults import ConfigError
from webhook.fleet.providers.reachability import why_unreachable_from
from webhook.provider_settings import ProviderSettings

ADVICE = "Set server.public_url to the https:// URL by which other machines reach this control plane."


def out_of_reach(definitions: Definitions, public_url: str) -> str:
    """Say which provider's machines could not call home, and why. Empty: all can."""
    for pool, settings in definitions.pools.items():
        for provider in settings.provider_names:
            if what := _why(definitions.all_providers[provider], public_url):
                return f"machines of pool {pool} at provider {provider} could not call home: {what}"
    return ""


def _why(settings: ProviderSettings, url: str) -> str:
    if not url:
        return "" if settings.same_machine else "server.public_url is not set"
    why = why_unreachable_from(settings, url)
    return why and f"{url} {why}"


def refuse_out_of_reach(config: Config) -> None:
    """Raise ConfigError where machines that were rented could not call home: each would cost until it is given up."""
    if why := out_of_reach(config, config.server.public_url):
        raise ConfigError(f"{why}. {ADVICE}")
