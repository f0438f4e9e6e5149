"""Makes boto3's client of a store, with the settings that stores other than AWS need."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound

from webhook.config_faults import ConfigError
from webhook.secret_settings import Secrets
from webhook.storage.late_effects import CONNECT_SECONDS
from webhook.storage.presign import SigningKeys
from webhook.store_endpoint import Addressing, in_host, is_loopback

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def s3_client(
    endpoint: str,
    region: str,
    credentials: SigningKeys,
    addressing: Addressing,
    *,
    connections: int,
    answer_seconds: float,
    attempts: int,
) -> S3Client:
    """Make a client of one store.

    Args:
        endpoint: ``https://host[:port]``.
        region: As the store calls it.
        credentials: Of the account.
        addressing: Where a bucket's name stands in a URL.
        connections: Most at once.
        answer_seconds: Deadline of an answer.
        attempts: Of one call, the first included.

    """
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        # What workers trust too; without it botocore reads a variable of which they know nothing.
        verify=os.environ.get("SSL_CERT_FILE") or None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=answer_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=connections,
            # Stores other than AWS refuse the trailers that the SDK adds by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "virtual" if in_host(endpoint, "bucket", addressing) else "path"},
            proxies={} if is_loopback(endpoint) else None,
        ),
    )


def signing_keys(secrets: Secrets) -> SigningKeys:
    """The keys with which the control plane works."""
    return SigningKeys(
        secrets.aws_access_key_id.get_secret_value(),
        secrets.aws_secret_access_key.get_secret_value(),
        secrets.aws_session_token.get_secret_value() or None,
    )


@contextlib.contextmanager
def client_errors() -> Iterator[None]:
    """Raise ConfigError where the SDK's own settings are wrong: a profile that does not exist, say."""
    try:
        yield
    except ProfileNotFound:
        raise ConfigError(
            "AWS_PROFILE names a profile that does not exist: unset it, since no profile is used"
        ) from None
    except (BotoCoreError, ValueError, OSError) as error:
        raise ConfigError(f"the store's client cannot be made from the AWS_* variables: {error}") from None
