"""Settings of the app, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_COOKIE_KEY_CHARACTERS = 32


class AlbumSettingsError(Exception):
    """A variable is missing or wrong. The message names it, and what to set it to."""


@dataclass(frozen=True, slots=True)
class AlbumSettings:
    """What the app needs to know."""

    yurt_url: str
    """The control plane, as browsers and the app reach it."""
    yurt_token: str = field(repr=False)
    """An app token with the scopes ``upload:photos``, ``read:photos`` and ``delete:photos``."""
    callback_secrets: tuple[str, ...] = field(repr=False)
    """By which callbacks are signed: ``whsec_…``."""
    cookie_key: bytes = field(repr=False)
    """By which sign-in cookies are signed."""
    store_origins: tuple[str, ...]
    """Where browsers upload to and load pictures from, such as ``https://t3.storage.dev``."""
    database: Path
    secure: bool
    """Whether browsers reach the app by https alone."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> AlbumSettings:
        """Read the variables that the README lists. Raises AlbumSettingsError."""

        def needed(name: str, what: str) -> str:
            if not (value := environment.get(name, "").strip()):
                raise AlbumSettingsError(f"set {name}: {what}")
            return value

        cookie_key = needed("PHOTO_APP_SECRET", "32 random bytes, as `openssl rand -hex 32` prints")
        if len(cookie_key) < _COOKIE_KEY_CHARACTERS:
            raise AlbumSettingsError("set PHOTO_APP_SECRET: it is too short to be 32 random bytes")
        secrets = needed("YURT_CALLBACK_SECRETS", "the secrets that the control plane signs callbacks with")
        return cls(
            yurt_url=needed("YURT_URL", "the control plane, such as https://yurt.example.com").rstrip("/"),
            yurt_token=needed("YURT_TOKEN", "what `yurt tokens create` printed"),
            callback_secrets=tuple(part.strip() for part in secrets.split(",")),
            cookie_key=cookie_key.encode(),
            store_origins=tuple(needed("PHOTO_APP_STORE", "origins of the buckets, with spaces between").split()),
            database=Path(environment.get("PHOTO_APP_DATABASE", "photo-app.sqlite")),
            secure=environment.get("PHOTO_APP_HTTPS", "1") != "0",
        )
