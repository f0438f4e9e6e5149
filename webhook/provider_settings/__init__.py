"""Settings of providers, ``[providers.NAME]`` in ``yurt.toml``: one module a kind, told apart by ``kind``.

Keys and passwords are no settings: they come from the environment alone (``webhook.secret_settings.Secrets``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from webhook.provider_settings.base import BaseProviderSettings
from webhook.provider_settings.docker import DockerSettings
from webhook.provider_settings.exec import ExecSettings
from webhook.provider_settings.fly import FlySettings
from webhook.provider_settings.kubernetes import KubernetesSettings
from webhook.provider_settings.local import LocalSettings
from webhook.provider_settings.runpod import RunpodSettings
from webhook.provider_settings.vast import VastSettings

ProviderSettings = Annotated[
    LocalSettings | DockerSettings | ExecSettings | FlySettings | KubernetesSettings | RunpodSettings | VastSettings,
    Field(discriminator="kind"),
]
"""Settings of one provider, of any kind."""

__all__ = [
    "BaseProviderSettings",
    "DockerSettings",
    "ExecSettings",
    "FlySettings",
    "KubernetesSettings",
    "LocalSettings",
    "ProviderSettings",
    "RunpodSettings",
    "VastSettings",
]
