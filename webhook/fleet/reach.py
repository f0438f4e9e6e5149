"""Finds rented machines that could not call home: the control plane's URL is this machine's own."""

from __future__ import annotations

from webhook.config import Config, Definitions
from webhook.config_faults import ConfigError
from webhook.fleet.providers.reachability import is_local_only

ADVICE = "Set server.public_url to the https:// URL by which other machines reach this control plane."


def out_of_reach(definitions: Definitions, public_url: str) -> str:
    """Say which provider's machines could not call home, and why. Empty: all can."""
    url = public_url
    if url and not is_local_only(url):
        return ""
    elsewhere = (
        (pool, provider)
        for pool, settings in definitions.pools.items()
        for provider in settings.provider_names
        if not definitions.all_providers[provider].same_machine
    )
    for pool, provider in elsewhere:
        what = f"{url} is this machine's own address" if url else "server.public_url is not set"
        return f"machines of pool {pool} at provider {provider} could not call home: {what}"
    return ""


def refuse_out_of_reach(config: Config) -> None:
    """Raise ConfigError where machines that were rented could not call home: each would cost until it is given up."""
    if why := out_of_reach(config, config.server.public_url):
        raise ConfigError(f"{why}. {ADVICE}")
