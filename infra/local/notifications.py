"""Validates, changes and masks a bucket's notification configuration, as Tigris does.

``PATCH /{bucket}`` with ``{"object_notifications": {…}}`` changes only the fields it names; ``{}`` clears
everything. ``GET /{bucket}?metadata&with-size=true`` reads it back, credentials masked.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, ValidationError, model_validator

MASK = "********"
MAX_PATCH_BYTES = 64 * 1024
_MAX_FILTER_CHARACTERS = 1_000

_FILTER = re.compile(r'^\s*WHERE\s+`key`\s+REGEXP\s+"((?:[^"\\]|\\.)*)"\s*$', re.IGNORECASE)


class NotificationsError(ValueError):
    """The configuration is not valid. The message names the field and the reason."""


class WebhookAuth(BaseModel):
    """Credentials for the webhook: a bearer token, or a user's name and password."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token: Annotated[str | None, Field(repr=False, pattern=r"^[!-~]{1,4096}$")] = None
    basic_user: Annotated[str | None, Field(max_length=256)] = None
    basic_pass: Annotated[str | None, Field(repr=False, max_length=4_096)] = None

    @model_validator(mode="after")
    def _either(self) -> WebhookAuth:
        basic = (self.basic_user is not None, self.basic_pass is not None)
        if any(basic) != all(basic) or (self.token is not None) == any(basic):
            raise ValueError("give either token, or basic_user and basic_pass")
        return self

    def header(self) -> str:
        """The value of ``Authorization``."""
        if self.token is not None:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{self.basic_user}:{self.basic_pass}".encode()).decode()

    def masked(self) -> dict[str, str]:
        """The fields with the secret hidden."""
        return {"token": MASK} if self.token is not None else {"basic_user": str(self.basic_user), "basic_pass": MASK}


class NotificationTarget(BaseModel):
    """The webhook of a bucket, and the filter of its events."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    enabled: bool = True
    web_hook: AnyHttpUrl
    filter: Annotated[str, Field(max_length=_MAX_FILTER_CHARACTERS)] = ""
    auth: WebhookAuth | None = None

    @model_validator(mode="after")
    def _usable(self) -> NotificationTarget:
        if self.web_hook.username or self.web_hook.password:
            raise ValueError("web_hook: credentials belong in auth, not in the URL")
        key_pattern(self.filter)
        return self

    @property
    def url(self) -> str:
        """URL of the webhook."""
        return str(self.web_hook)

    def masked(self) -> dict[str, object]:
        """The fields as they are set, with secrets hidden."""
        fields: dict[str, object] = {"enabled": self.enabled, "web_hook": self.url, "filter": self.filter}
        return fields | ({"auth": self.auth.masked()} if self.auth else {})


def key_pattern(expression: str) -> re.Pattern[str] | None:
    """Compile a filter: keys in which the pattern is found pass; None: every key passes.

    Raises:
        NotificationsError: the filter is not ``WHERE `key` REGEXP "…"``, all that the local bucket understands.
    """
    if not expression.strip():
        return None
    if not (match := _FILTER.match(expression)):
        raise NotificationsError('filter: the local bucket understands WHERE `key` REGEXP "pattern" and nothing else')
    try:
        return re.compile(match[1].replace('\\"', '"'))
    except re.error as error:
        raise NotificationsError(f"filter: the pattern is no regular expression: {error}") from None


def patched(before: NotificationTarget | None, patch: object) -> NotificationTarget | None:
    """Apply a ``PATCH`` of ``object_notifications`` to a configuration. None: the patch clears it.

    Raises:
        NotificationsError: a field is unknown or wrong.
    """
    if not isinstance(patch, dict):
        raise NotificationsError("object_notifications: has to be an object")
    if not patch:
        return None
    known = before.model_dump(mode="json", exclude_none=True) if before else {}
    try:
        return NotificationTarget.model_validate(known | patch)
    except ValidationError as error:
        raise NotificationsError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return ": ".join(part for part in (where, first["msg"].removeprefix("Value error, ")) if part)
