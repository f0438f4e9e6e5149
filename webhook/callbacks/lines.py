"""Builds the receivers and lines of all pipelines that have a callback, from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from webhook.callbacks.composer import CallbackComposer
from webhook.callbacks.delivery import CallbackLine
from webhook.callbacks.receiver import CallbackReceiver
from webhook.callbacks.signatures import CallbackSecretError, secrets_of
from webhook.config import ConfigError, Pipeline
from webhook.ledger.callbacks import CallbackOutbox
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore
from webhook.sweep.manifests import Manifests


def callback_receivers(by_id: Mapping[int, tuple[str, Pipeline]], setting: SecretStr) -> dict[int, CallbackReceiver]:
    """Build the receiver of each pipeline that has a callback, by the pipeline's number.

    ``setting`` is ``YURT_CALLBACK_SECRETS``. Raises ConfigError where a pipeline has no secret to sign with.
    """
    receivers = {}
    for number, (name, pipeline) in by_id.items():
        if pipeline.callback is None:
            continue
        try:
            signing = secrets_of(setting, name)
        except CallbackSecretError as error:
            raise ConfigError(str(error)) from None
        if not signing:
            raise ConfigError(
                f"pipelines.{name}.callback: there is no secret to sign with. Set YURT_CALLBACK_SECRETS to what "
                "`printf 'whsec_%s' \"$(openssl rand -base64 32)\"` prints, and give it to the app"
            )
        receivers[number] = CallbackReceiver(pipeline.callback, signing)
    return receivers


def callback_lines(
    pipelines: Pipelines,
    outbox: CallbackOutbox,
    store: ObjectStore,
    receivers: Mapping[int, CallbackReceiver],
    noted: Callable[[str, float], None],
) -> list[CallbackLine]:
    """Build a line to each receiver. ``noted`` gets the pipeline's name and the seconds of each delivery."""
    manifests = Manifests(store)
    lines = []
    for number, receiver in receivers.items():
        name, pipeline = pipelines.by_id[number]
        composer = CallbackComposer(name, pipeline, manifests, store.presigner)
        lines.append(CallbackLine(number, name, outbox, composer, receiver, noted))
    return lines
