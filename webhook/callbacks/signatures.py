"""Signs callbacks by the rules of Standard Webhooks, with each secret of a pipeline.

While secrets are exchanged, an app that has the old one or the new one can verify.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

_LEAST_BYTES, _MOST_BYTES = 24, 64
"""Of a secret, as the specification has it."""
_PREFIX = "whsec_"
_FOR_ONE = re.compile(r"(?P<pipeline>[a-z0-9][a-z0-9-]*):(?P<secret>whsec_.*)")


class CallbackSecretError(Exception):
    """A secret cannot be used. The message holds none of it."""


def secrets_of(setting: SecretStr, pipeline: str) -> tuple[str, ...]:
    """Return the secrets with which a pipeline's callbacks are signed, of ``YURT_CALLBACK_SECRETS``.

    They stand there with commas between; one that is written ``photos:whsec_…`` is for that pipeline alone.
    Raises CallbackSecretError.
    """
    secrets = []
    for number, part in enumerate(setting.get_secret_value().split(","), 1):
        text = part.strip()
        if not text:
            continue
        named = _FOR_ONE.fullmatch(text)
        secret = named["secret"] if named else text
        _check(secret, number)
        if named is None or named["pipeline"] == pipeline:
            secrets.append(secret)
    return tuple(secrets)


def signed_headers(message: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers by which an app verifies a callback. ``at`` is the time of the attempt, in UTC."""
    from standardwebhooks import Webhook

    signatures = [Webhook(secret).sign(message, at, body.decode()) for secret in secrets]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _check(secret: str, number: int) -> None:
    wrong = (
        f"YURT_CALLBACK_SECRETS: secret {number} has to be {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} random bytes "
        f"in Base64: take what `printf '{_PREFIX}%s\\n' \"$(openssl rand -base64 32)\"` prints"
    )
    try:
        content = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise CallbackSecretError(wrong) from None
    if not secret.startswith(_PREFIX) or not _LEAST_BYTES <= len(content) <= _MOST_BYTES:
        raise CallbackSecretError(wrong)
