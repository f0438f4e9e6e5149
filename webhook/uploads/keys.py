"""Keys of uploads: made of names that people gave their files, so that they harm nobody and a browser can send them."""

from __future__ import annotations

import re
import secrets
import unicodedata

from webhook.config import RESERVED_PREFIX, Pipeline
from webhook.events import MAX_KEY_BYTES
from webhook.outputs.keys import has_room

_NAME_BYTES = 200
_FOLDER_BYTES = 12
_UNSAFE = re.compile(r'[\\/:*?"<>|#%{}^~\[\]`]+')
"""What has a meaning in a path, a URL or a shell of some system. S3 would take most of it."""
_NO_NAME = "file"


class KeyRefused(Exception):
    """An upload cannot have this key. The message says why, for the person who wrote the app."""


def safe_name(name: str) -> str:
    """A file's name as the last part of a key: the end of a path, without control characters, at most 200 bytes.

    The suffix stays, since pipelines go by it. What is left of nothing is ``file``.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode()))[-1]
    visible = "".join(c if c.isprintable() else "_" for c in last)
    tidy = _UNSAFE.sub("_", visible).strip(" .") or _NO_NAME
    stem, dot, suffix = tidy.rpartition(".")
    if not dot:
        return _cut(tidy, _NAME_BYTES)
    suffix = _cut(suffix, _NAME_BYTES // 4)
    return f"{_cut(stem, _NAME_BYTES - len(suffix.encode()) - 1)}.{suffix}"


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def folder_prefix(pipeline: Pipeline, prefix: str) -> str:
    """A pipeline's prefix and an app's below it, which ends in a slash. Raises KeyRefused."""
    if not prefix:
        return pipeline.input.prefix
    _check_segments(prefix.removesuffix("/"))
    return f"{pipeline.input.prefix}{prefix.removesuffix('/')}/"


def new_key(pipeline: Pipeline, prefix: str, name: str) -> str:
    """A new key below a prefix, that no other upload has. Raises KeyRefused."""
    return checked(pipeline, f"{folder_prefix(pipeline, prefix)}{secrets.token_hex(_FOLDER_BYTES)}/{safe_name(name)}")


def ticket_key(pipeline: Pipeline, folder: str, number: int, name: str) -> str:
    """The key of one of a ticket's uploads: its number makes it another one than all others. Raises KeyRefused."""
    return checked(pipeline, f"{folder}{number}/{safe_name(name)}")


def checked(pipeline: Pipeline, key: str) -> str:
    """A key that the pipeline watches, and under which a browser can upload. Raises KeyRefused."""
    if not key.startswith(pipeline.input.prefix):
        raise KeyRefused(f"the pipeline takes keys that begin with {pipeline.input.prefix!r}")
    _check_segments(key)
    if len(key.encode()) > MAX_KEY_BYTES or not has_room(pipeline, key):
        raise KeyRefused("the key leaves no room for the results' keys: use a shorter prefix or name")
    if pipeline.suffixes and not key.lower().endswith(pipeline.suffixes):
        raise KeyRefused(f"the pipeline takes only names that end in {', '.join(pipeline.suffixes)}")
    if not pipeline.watches(pipeline.input.bucket, key):
        raise KeyRefused("the pipeline does not watch this key")
    return key


def _check_segments(path: str) -> None:
    segments = path.split("/")
    if "" in segments or any(segment in (".", "..") for segment in segments):
        raise KeyRefused("a key has no empty part, and none that is '.' or '..': browsers would change it")
    if any(segment.startswith(RESERVED_PREFIX) for segment in segments):
        raise KeyRefused(f"no part of a key may begin with {RESERVED_PREFIX!r}: that is for Yurt itself")
    if not path.isprintable():
        raise KeyRefused("a key has no control characters")
