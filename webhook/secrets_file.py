"""Reads ``yurt.secrets`` and the environment, and names every fault in them at once without a value."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from webhook.config_faults import ConfigError, in_words
from webhook.secret_settings import Secrets

_LEAST_CHARACTERS = 16
"""Of a secret that Yurt checks. Random hexadecimal digits of that number are 64 bits."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def secrets_file(config_path: Path) -> Path:
    """The file of secrets beside a configuration: ``yurt.secrets`` beside ``yurt.toml``.

    ``YURT_SECRETS_FILE`` names another.
    """
    return Path(os.environ.get("YURT_SECRETS_FILE") or config_path.with_suffix(".secrets"))


def secrets(config_path: Path) -> Secrets:
    """Read the file of secrets, where there is one, and the environment, which wins.

    Raises ConfigError; no value is shown.
    """
    path = secrets_file(config_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get("YURT_SECRETS_FILE"):
            raise ConfigError(f"YURT_SECRETS_FILE names {path}, which does not exist") from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {reason_of_file(error)}") from None
    if faults := [*_secrets_faults(text)]:
        raise ConfigError(f"{path}:\n" + "\n".join(faults))
    where = f"the environment or {path}" if text else "the environment"
    try:
        read = Secrets(_env_file=path if text else None)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{in_words(error, Secrets, name=str.upper)}") from None
    if faults := [*_short_secrets(read)]:
        raise ConfigError(f"{where}:\n" + "\n".join(faults))
    return read


def _short_secrets(read: Secrets) -> Iterator[str]:
    """Name each secret that could be guessed. Of ``user:password`` the password alone is one."""
    of_webhooks = [secret.partition(":")[2] or secret for secret in read.webhook_secrets]
    for name, values in (
        ("YURT_WEBHOOK_SECRETS", of_webhooks),
        ("YURT_ADMIN_TOKEN", [read.yurt_admin_token.get_secret_value()]),
        ("YURT_VIEWER_TOKEN", [read.yurt_viewer_token.get_secret_value()]),
    ):
        if any(len(value) < _LEAST_CHARACTERS for value in values if value or name == "YURT_WEBHOOK_SECRETS"):
            yield (
                f"  {name}: a secret of fewer than {_LEAST_CHARACTERS} characters can be guessed: "
                "take what `openssl rand -hex 32` prints"
            )


def reason_of_file(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read, without its content."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8"


def _secrets_faults(text: str) -> Iterator[str]:
    """Name each line of a file of secrets that would be ignored. Shows names, never values."""
    known = [*(name.upper() for name in Secrets.model_fields), "AWS_ENDPOINT_URL"]
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, _ = stripped.partition("=")
        if not equals or not _VARIABLE.fullmatch(name.strip()):
            yield f"  line {number}: has to be of the form NAME=value"
        elif name.strip() not in known:
            similar = difflib.get_close_matches(name.strip(), known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"there are: {', '.join(known)}"
            yield f"  line {number}: {name.strip()} is no secret of Yurt: {hint}"
