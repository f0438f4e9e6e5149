"""Makes the providers that the configuration names: from the settings of each kind, its own class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from webhook.config import Config, ConfigError
from webhook.fleet.providers.docker import DockerProvider
from webhook.fleet.providers.exec import ExecProvider
from webhook.fleet.providers.fly import FlyProvider
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.fleet.providers.local import LocalProvider
from webhook.fleet.providers.runpod import RunpodProvider
from webhook.provider_settings import (
    DockerSettings,
    ExecSettings,
    FlySettings,
    KubernetesSettings,
    LocalSettings,
    ProviderSettings,
    RunpodSettings,
)
from webhook.secret_settings import Secrets
from workers.handlers.folder import ENVIRONMENT

if TYPE_CHECKING:
    from webhook.fleet.providers import Provider


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What providers need beside their settings."""

    owner: str
    """Name of this installation, with which the labels of its machines begin."""
    secrets: Secrets
    state: Path
    """Folder of this control plane."""
    handlers: str
    """Folder of the user's handlers on this machine."""


def make_providers(config: Config, secrets: Secrets, state: Path) -> dict[str, Provider]:
    """Make every provider that the configuration defines, by name. Raises ConfigError where a key is missing."""
    context = ProviderContext(config.server.name, secrets, state, config.server.handlers)
    return {name: _made(name, settings, context) for name, settings in config.all_providers.items()}


def _made(name: str, settings: ProviderSettings, context: ProviderContext) -> Provider:
    match settings:
        case LocalSettings():
            # A folder of its own: a provider lists everything that lies in its folder.
            folder = context.state / ("workers" if name == "local" else f"workers-{name}")
            return LocalProvider(
                context.owner,
                folder,
                environment={ENVIRONMENT: context.handlers},
                usd_per_hour=settings.usd_per_hour,
            )
        case DockerSettings():
            return DockerProvider(context.owner, settings, context.secrets)
        case KubernetesSettings():
            return KubernetesProvider(context.owner, settings)
        case ExecSettings():
            return ExecProvider(context.owner, name, settings)
        case FlySettings():
            return FlyProvider(context.owner, settings, _key(name, "FLY_API_TOKEN", context.secrets.fly_api_token))
        case RunpodSettings():
            return RunpodProvider(context.owner, settings, _key(name, "RUNPOD_API_KEY", context.secrets.runpod_api_key))


def _key(name: str, variable: str, secret: SecretStr) -> str:
    """The account's key. Raises ConfigError where it is not set."""
    if key := secret.get_secret_value():
        return key
    raise ConfigError(f"providers.{name}: its key is missing: set {variable} in the environment or in yurt.secrets")
