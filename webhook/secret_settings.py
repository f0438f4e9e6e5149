"""Secrets and addresses of stores, databases and providers: from the environment, or a file of their own."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from webhook.store_endpoint import Addressing, normalised


class Secrets(BaseSettings):
    """Secrets and addresses, which come from the environment and the file of secrets beside the configuration."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    database_url: SecretStr = SecretStr("")
    """``DATABASE_URL``: PostgreSQL. Empty: an embedded one is started."""
    direct_database_url: SecretStr = SecretStr("")
    """``DIRECT_DATABASE_URL``: the same database past a pooler that ``DATABASE_URL`` leads through."""
    yurt_webhook_secrets: SecretStr = SecretStr("")
    """``YURT_WEBHOOK_SECRETS``: what the store sends: bearer tokens or ``user:password``, with commas between."""
    yurt_callback_secrets: SecretStr = SecretStr("")
    """``YURT_CALLBACK_SECRETS``: sign callbacks: ``whsec_…``, or ``pipeline:whsec_…``, with commas between."""
    yurt_admin_token: SecretStr = SecretStr("")
    """``YURT_ADMIN_TOKEN``: for ``yurt status`` and the like. Empty: these are closed."""
    yurt_viewer_token: SecretStr = SecretStr("")
    """``YURT_VIEWER_TOKEN``: signs in to the page to look, without changing anything. Empty: there is no such role."""
    aws_access_key_id: SecretStr = SecretStr("")
    """``AWS_ACCESS_KEY_ID``."""
    aws_secret_access_key: SecretStr = SecretStr("")
    """``AWS_SECRET_ACCESS_KEY``."""
    aws_session_token: SecretStr = SecretStr("")
    """``AWS_SESSION_TOKEN``."""
    fly_api_token: SecretStr = SecretStr("")
    """``FLY_API_TOKEN``: may create and destroy machines of one app at Fly, for the kind ``fly``."""
    runpod_api_key: SecretStr = SecretStr("")
    """``RUNPOD_API_KEY``: the account at RunPod, for the kind ``runpod``."""
    vast_api_key: SecretStr = SecretStr("")
    """``VAST_API_KEY``: the account at Vast.ai, for the kind ``vast``."""
    yurt_registry_username: str = ""
    """``YURT_REGISTRY_USERNAME``: at the registry of the workers' image, where it is private."""
    yurt_registry_password: SecretStr = SecretStr("")
    """``YURT_REGISTRY_PASSWORD``. Providers hand it to the hosts: a token that may only pull that image."""
    yurt_publish_access_key_id: SecretStr = SecretStr("")
    """``YURT_PUBLISH_ACCESS_KEY_ID``: signs the PUTs of workers. It may write outputs, and need read nothing."""
    yurt_publish_secret_access_key: SecretStr = SecretStr("")
    """``YURT_PUBLISH_SECRET_ACCESS_KEY``."""
    aws_endpoint_url_s3: Annotated[
        str,
        AfterValidator(normalised),
        Field(validation_alias=AliasChoices("aws_endpoint_url_s3", "aws_endpoint_url")),
    ] = "https://t3.storage.dev"
    """``AWS_ENDPOINT_URL_S3``, or else ``AWS_ENDPOINT_URL``: the store; Tigris by default."""
    yurt_s3_addressing: Addressing = "auto"
    """``YURT_S3_ADDRESSING``: whether a bucket's name stands in the store's host (``virtual``) or path (``path``)."""
    aws_region: str = "auto"
    """``AWS_REGION``."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.yurt_publish_access_key_id.get_secret_value()) != bool(
            self.yurt_publish_secret_access_key.get_secret_value()
        ):
            raise ValueError("set YURT_PUBLISH_ACCESS_KEY_ID and YURT_PUBLISH_SECRET_ACCESS_KEY both, or neither")
        viewer = self.yurt_viewer_token.get_secret_value()
        if viewer and viewer == self.yurt_admin_token.get_secret_value():
            raise ValueError("YURT_VIEWER_TOKEN has to be another secret than YURT_ADMIN_TOKEN: it may only look")
        return self

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Each valid secret: several at once let them be rotated."""
        parts = (part.strip() for part in self.yurt_webhook_secrets.get_secret_value().split(","))
        return tuple(part for part in parts if part)

    @property
    def common(self) -> bytes:
        """A secret that all replicas of a control plane have, to make others from."""
        return (self.yurt_admin_token or self.aws_secret_access_key).get_secret_value().encode()
