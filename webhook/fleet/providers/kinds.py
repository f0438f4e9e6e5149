"""Makes the providers that the configuration names: from the settings of each kind, its own class."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.fleet.providers.docker import DockerProvider
from webhook.fleet.providers.exec import ExecProvider
from webhook.fleet.providers.fly import FlyProvider
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.fleet.providers.local import LocalProvider
from webhook.fleet.providers.registry_image import RegistryLogin
from webhook.fleet.providers.runpod import RunpodProvider
from webhook.fleet.providers.vast import VastProvider
from webhook.fleet.providers.vast_api import PRETEND_SCALE, VastPace
from webhook.provider_settings import (
    DockerSettings,
    ExecSettings,
    FlySettings,
    KubernetesSettings,
    LocalSettings,
    ProviderSettings,
    RunpodSettings,
    VastSettings,
)
from webhook.secret_settings import Secrets
from workers.handlers.folder import ENVIRONMENT

if TYPE_CHECKING:
    from webhook.fleet.providers import Provider

_is_login = re.compile(r"[A-Za-z0-9._~+/=@:!][A-Za-z0-9._~+/=@:!-]{0,1999}").fullmatch


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
    vast_pace: VastPace = field(default_factory=VastPace)
    """Of the one key at Vast.ai, which all providers of the kind share."""
    pretend_pace: VastPace = field(default_factory=lambda: VastPace(PRETEND_SCALE))
    """Of a pretend market on this machine."""


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
        case FlySettings() | RunpodSettings() | VastSettings():
            return _rented(name, settings, context)


def _rented(name: str, settings: FlySettings | RunpodSettings | VastSettings, context: ProviderContext) -> Provider:
    """A provider of machines that are paid for, with the account's key."""
    owner, secrets = context.owner, context.secrets
    match settings:
        case FlySettings():
            return FlyProvider(owner, settings, _key(name, "FLY_API_TOKEN", secrets.fly_api_token))
        case RunpodSettings():
            return RunpodProvider(owner, settings, _key(name, "RUNPOD_API_KEY", secrets.runpod_api_key))
        case VastSettings():
            key, login = _key(name, "VAST_API_KEY", secrets.vast_api_key), _login(name, settings, secrets)
            pace = context.pretend_pace if settings.same_machine else context.vast_pace
            return VastProvider(owner, settings, key, pace, url=settings.api_url, login=login)


def _key(name: str, variable: str, secret: SecretStr) -> str:
    """The account's key. Raises ConfigError where it is not set."""
    if key := secret.get_secret_value():
        return key
    raise ConfigError(f"providers.{name}: its key is missing: set {variable} in the environment or in yurt.secrets")


def _login(name: str, settings: VastSettings, secrets: Secrets) -> RegistryLogin | None:
    """What hosts log in with at the image's registry. None: it is public.

    Raises ConfigError where the credentials are missing, or would be taken for other arguments of ``docker login``.
    """
    if not settings.image_login:
        return None
    username, password = secrets.yurt_registry_username, secrets.yurt_registry_password.get_secret_value()
    if not (_is_login(username) and _is_login(password)):
        raise ConfigError(
            f"providers.{name}: image_login needs YURT_REGISTRY_USERNAME and YURT_REGISTRY_PASSWORD, of letters, "
            "digits and . _ ~ + / = @ : ! -, and not beginning with -"
        )
    return RegistryLogin(username, password)
