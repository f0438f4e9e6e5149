"""Builds what delivers callbacks, and finds pipelines whose callbacks cannot be signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from pydantic import SecretStr

from webhook.callbacks.composer import CallbackComposer
from webhook.callbacks.delivery import CallbackDelivery, CallbackLine
from webhook.callbacks.receiver import CallbackReceiver
from webhook.callbacks.signatures import secrets_of
from webhook.config import Pipeline
from webhook.ledger.callbacks import CallbackOutbox
from webhook.ledger.ledger import Ledger
from webhook.ledger.settles import SettleLog
from webhook.loops import LoopHealth
from webhook.metrics import Metrics
from webhook.pipelines import NamedPipeline, Pipelines
from webhook.storage import ObjectStore
from webhook.sweep.manifests import Manifests


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


def callback_delivery(parts: DeliveryParts, setting: SecretStr) -> CallbackDelivery:
    """Build what tells the receivers of all pipelines. ``setting`` is ``YURT_CALLBACK_SECRETS``."""
    manifests, outbox = Manifests(parts.store), CallbackOutbox(parts.ledger)

    def line(number: int, named: NamedPipeline) -> CallbackLine:
        name, pipeline = named
        assert pipeline.callback is not None  # only such pipelines have a line
        receiver = CallbackReceiver(pipeline.callback, secrets_of(setting, name))
        composer = CallbackComposer(name, pipeline, manifests, parts.store.presigner)
        return CallbackLine(number, name, outbox, composer, receiver, parts.metrics.callback_told)

    return CallbackDelivery(lambda: parts.pipelines.by_id, line, parts.settles, parts.health)


def unsigned_callbacks(pipelines: Mapping[str, Pipeline], setting: SecretStr) -> Iterator[str]:
    """Yield what is wrong with each pipeline that has a callback but no secret to sign it with.

    ``setting`` is ``YURT_CALLBACK_SECRETS``. Raises CallbackSecretError.
    """
    for name, pipeline in pipelines.items():
        if pipeline.callback is not None and not secrets_of(setting, name):
            yield (
                f"pipelines.{name}.callback: there is no secret to sign with. Set YURT_CALLBACK_SECRETS to what "
                "`printf 'whsec_%s' \"$(openssl rand -base64 32)\"` prints, and give it to the app"
            )
