"""Builds the receivers and lines of all pipelines that have a callback, from the configuration."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from pydantic import SecretStr

from webhook.callbacks.composer import CallbackComposer
from webhook.callbacks.delivery import CallbackDelivery, CallbackLine
from webhook.callbacks.receiver import CallbackReceiver
from webhook.callbacks.signatures import CallbackSecretError, secrets_of
from webhook.config import ConfigError, Pipeline
from webhook.ledger.callbacks import CallbackOutbox
from webhook.ledger.ledger import Ledger
from webhook.ledger.settles import SettleLog
from webhook.loops import LoopHealth
from webhook.metrics import Metrics
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore
from webhook.sweep.manifests import Manifests

Receivers = Mapping[int, CallbackReceiver]
"""By the number of the pipeline."""


class DeliveryParts(Protocol):
    """The parts of a control plane that deliver callbacks. ``webhook.app.Services`` has them."""

    @property
    def ledger(self) -> Ledger:
        """Holds the outbox."""
        ...

    @property
    def pipelines(self) -> Pipelines:
        """Which pipeline has which number."""
        ...

    @property
    def store(self) -> ObjectStore:
        """Holds the manifests."""
        ...

    @property
    def settles(self) -> SettleLog:
        """Says that there is something to tell."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Counts deliveries."""
        ...

    @property
    def health(self) -> LoopHealth:
        """Of the loops."""
        ...


@contextlib.asynccontextmanager
async def callback_receivers(by_id: Mapping[int, tuple[str, Pipeline]], setting: SecretStr) -> AsyncIterator[Receivers]:
    """Have the receiver of each pipeline that has a callback, for as long as the block runs.

    ``setting`` is ``YURT_CALLBACK_SECRETS``. Raises ConfigError where a pipeline has no secret to sign with.
    """
    secrets = {
        number: _signing(name, setting) for number, (name, pipeline) in by_id.items() if pipeline.callback is not None
    }
    async with contextlib.AsyncExitStack() as stack:
        receivers = {}
        for number, signing in secrets.items():
            settings = by_id[number][1].callback
            assert settings is not None
            receivers[number] = CallbackReceiver(settings, signing)
            stack.push_async_callback(receivers[number].aclose)
        yield receivers


def callback_delivery(parts: DeliveryParts, receivers: Receivers) -> CallbackDelivery:
    """Build what tells all receivers."""
    manifests, outbox = Manifests(parts.store), CallbackOutbox(parts.ledger)
    lines = []
    for number, receiver in receivers.items():
        name, pipeline = parts.pipelines.by_id[number]
        composer = CallbackComposer(name, pipeline, manifests, parts.store.presigner)
        lines.append(CallbackLine(number, name, outbox, composer, receiver, parts.metrics.callback_told))
    return CallbackDelivery(lines, parts.settles, parts.health)


def _signing(name: str, setting: SecretStr) -> tuple[str, ...]:
    try:
        signing = secrets_of(setting, name)
    except CallbackSecretError as error:
        raise ConfigError(str(error)) from None
    if not signing:
        raise ConfigError(
            f"pipelines.{name}.callback: there is no secret to sign with. Set YURT_CALLBACK_SECRETS to what "
            "`printf 'whsec_%s' \"$(openssl rand -base64 32)\"` prints, and give it to the app"
        )
    return signing
