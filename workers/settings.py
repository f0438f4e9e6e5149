"""Reads an agent's settings from environment variables, the only configuration that a rented machine gets."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from workers.handlers.folder import ENVIRONMENT, handlers_folder
from workers.outgoing import ALLOW_HTTP, sends_in_clear

LogFormat = Literal["json", "console"]

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
"""What RFC 6750 allows a bearer token to be."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_URL_LENGTH = 2_000
_BYTES = re.compile(r"[0-9]{1,18}")
_MODELS = "models"


class SettingsError(Exception):
    """The environment is wrong. The message is one line that names the variable and says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """An agent's settings, checked."""

    url: str
    """Base URL of the control plane, without a slash at its end."""
    token: str = field(repr=False)
    """The one-time token that this machine was minted with, or an invitation. Empty: only a kept credential."""
    work_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """An existing folder for temporary files."""
    handlers: Path | None = None
    """The folder of the handlers' modules and programs."""
    state_dir: Path | None = None
    """An existing folder in which the worker's credential is kept; none: it ends with this process."""
    cache_dir: Path = field(default_factory=lambda: default_cache(os.environ, Path(tempfile.gettempdir())))
    """The folder of the models, of this user alone. Made at the first use."""
    cache_bytes: int | None = None
    """Of all models together; 0 for no limit, None for a share of the disk."""
    label: str = ""
    """The name the machine was minted under: goes into every log line."""
    log: LogFormat = "json"

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Settings:
        """Read ``YURT_*`` from ``environ`` and remove the token there, so that no child process can inherit
        it.

        Raises `SettingsError`.
        """
        token = environ.pop("YURT_TOKEN", "")
        work_dir = _folder(environ, "YURT_WORK_DIR")
        state_dir = _folder(environ, "YURT_STATE_DIR") if environ.get("YURT_STATE_DIR") else None
        return cls(
            url=_url(environ.get("YURT_URL", ""), in_clear=_allow_http(environ.get(ALLOW_HTTP, ""))),
            token=_token(token, optional=state_dir is not None),
            work_dir=work_dir,
            state_dir=state_dir,
            cache_dir=_cache(environ, work_dir),
            cache_bytes=_cache_bytes(environ.get("YURT_CACHE_BYTES", "")),
            handlers=_handlers(environ),
            label=_label(environ.get("YURT_LABEL", "")),
            log=_log(environ.get("YURT_LOG", "json")),
        )


def _allow_http(value: str) -> bool:
    if value not in ("", "0", "1"):
        raise SettingsError(f"{ALLOW_HTTP} is {value[:40]!r}: set it to 1 to allow plain http://, or leave it out")
    return value == "1"


def _url(value: str, *, in_clear: bool) -> str:
    if not value:
        raise SettingsError("YURT_URL is missing: set it to the control plane's base URL, https://yurt.example")
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, an unbalanced bracket
        valid = False
    if not valid or len(value) > _URL_LENGTH or not value.isprintable() or " " in value:
        raise SettingsError("YURT_URL is not an http:// or https:// URL: set it to the control plane's base URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("YURT_URL carries a user, a query or a fragment: leave only scheme, host, port and path")
    if sends_in_clear(value) and not in_clear:
        raise SettingsError(
            "YURT_URL is plain http:// to another machine: the token and every object could be read and changed on "
            f"the way. Use https://, or set {ALLOW_HTTP}=1 where only machines that you trust are in between"
        )
    return value.rstrip("/")


def _token(value: str, *, optional: bool) -> str:
    if not value and not optional:
        raise SettingsError("YURT_TOKEN is missing: set it to a token that `yurt invite` prints")
    if value and not _TOKEN.fullmatch(value):
        raise SettingsError("YURT_TOKEN is malformed: 16 to 512 letters, digits and ._~+/=- with no space or quotes")
    return value


def _folder(environ: Mapping[str, str], name: str) -> Path:
    try:
        path = Path(environ.get(name) or tempfile.gettempdir())
    except OSError:
        raise SettingsError(
            f"no folder for temporary files can be written by user id {os.geteuid()}: set {name} to one that can"
        ) from None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{name} {str(path)!r} cannot be made by user id {os.geteuid()}: {error.strerror}"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SettingsError(f"{name} {str(path)!r} cannot be written by user id {os.geteuid()}: choose another folder")
    return path.resolve()


def default_cache(environ: Mapping[str, str], work_dir: Path) -> Path:
    """Return where models are kept unless ``YURT_CACHE_DIR`` says it: with the user's other caches, if there is a home.

    All workers of a user on one machine share it, and it outlasts them.
    """
    home = environ.get("HOME", "")
    caches = environ.get("XDG_CACHE_HOME", "")
    if not caches.startswith("/") and home.startswith("/") and os.access(home, os.W_OK | os.X_OK):
        caches = f"{home}/.cache"
    return Path(caches, "yurt", _MODELS) if caches.startswith("/") else work_dir / "yurt-cache" / _MODELS


def _cache(environ: Mapping[str, str], work_dir: Path) -> Path:
    if environ.get("YURT_CACHE_DIR"):
        # A folder of its own in it: a mount often is root's, or open to every user.
        return _folder(environ, "YURT_CACHE_DIR") / _MODELS
    return default_cache(environ, work_dir)


def _cache_bytes(value: str) -> int | None:
    if value and not _BYTES.fullmatch(value):
        raise SettingsError(f"YURT_CACHE_BYTES is {value[:40]!r}: set it to a number of bytes, or to 0 for no limit")
    return int(value) if value else None


def _handlers(environ: Mapping[str, str]) -> Path | None:
    if (folder := handlers_folder(environ)) is None:
        return None
    if not folder.is_dir():
        raise SettingsError(f"{ENVIRONMENT} {str(folder)!r} is no folder: set it to the one with your handlers")
    return folder.absolute()  # links stay: one that is turned to another folder is a change of the handlers


def _label(value: str) -> str:
    if value and not _LABEL.fullmatch(value):
        raise SettingsError("YURT_LABEL is malformed: up to 100 letters, digits, dots, hyphens and underscores")
    return value


def _log(value: str) -> LogFormat:
    if value not in ("json", "console"):
        raise SettingsError(f"YURT_LOG is {value[:40]!r}: set it to json or console")
    return cast("LogFormat", value)
