"""Draws the credentials of a local stack, and keeps them in a file so that the next run has the same."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

_MAX_BYTES = 4_096


class StackKeysError(Exception):
    """The file of keys cannot be used. The message says what to do, and shows no key."""


def _drawn() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class StackKeys:
    """Credentials of a local stack, drawn at random: of the bucket, the notifications and the admin API."""

    access_key: str = "yurt-local"
    secret_key: str = field(default_factory=_drawn, repr=False)
    webhook: str = field(default_factory=_drawn, repr=False)
    admin: str = field(default_factory=_drawn, repr=False)


def kept_keys(path: Path) -> StackKeys:
    """Read the keys of an earlier run; where there are none, draw them and write them with mode 0600.

    Raises:
        StackKeysError: the file cannot be read or written, or holds something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return _written(path)
    except OSError as error:
        raise StackKeysError(f"{path} cannot be read: {error.strerror}") from None
    try:
        keys = StackKeys(**json.loads(text))
        if all(isinstance(value, str) and value for value in asdict(keys).values()):
            return keys
    except (ValueError, TypeError):
        pass
    raise StackKeysError(f"{path} holds no keys of `yurt up`: remove it, and new ones are drawn")


def _written(path: Path) -> StackKeys:
    keys, partial = StackKeys(), path.with_name(path.name + ".partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(keys), file)
        partial.replace(path)
    except OSError as error:
        raise StackKeysError(f"{path} cannot be written: {error.strerror}") from None
    return keys
