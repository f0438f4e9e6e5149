"""Settings of the local provider."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from webhook.provider_settings.base import BaseProviderSettings, Usd


class LocalSettings(BaseProviderSettings):
    """Processes beside the control plane. The provider named ``local`` is there without any settings."""

    rented: ClassVar[bool] = False

    kind: Literal["local"] = "local"
    usd_per_hour: Usd = Decimal(0)
    """What one worker costs, for budgets and ``yurt costs``; 0: nothing."""

    @property
    def same_machine(self) -> bool:
        """They do: they are processes of this machine."""
        return True
