"""Keys and metadata of outputs: every output key and every fencing token of an output is made and read here alone.

Below an output location (a bucket and a prefix) lie::

    {prefix}{input key}/{name}                  a published output under its stable key
    {prefix}{input key}/.yurt-{token}/{name}    a staged output: written, and not published yet
    {prefix}.yurt-{purpose}-{random}            an object of the control plane itself: a probe

Names of outputs hold no slash and do not begin with ``.yurt-`` (``webhook.config.RESERVED_PREFIX``), so each key is
read back in one way only.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from webhook.config import RESERVED_PREFIX, Pipeline, Place
from webhook.events import MAX_KEY_BYTES, utc
from workers.protocol import MANIFEST

_TOKEN = "yurt-token"  # noqa: S105 - a metadata name
"""Metadata of an output: the fencing token of the lease under which it was written."""
_INPUT_ETAG = "yurt-input-etag"
"""Metadata of an output: ETag of the input that it was made from."""
_INPUT_MODIFIED = "yurt-input-modified"
"""Metadata of an output: Last-Modified of that input, ISO 8601."""
_PIPELINE = "yurt-pipeline"
"""Metadata of an output: the name of its pipeline."""
_TOKEN_DIGITS = 19
"""A fencing token is below 2⁶³."""
_PROBE = "probe"


class KeyTooLong(Exception):
    """The input's key leaves no room for an output's key."""


class OutputKey(NamedTuple):
    """What an output's key says."""

    input_key: str
    name: str
    token: int
    """Of a staged output; 0: a stable key."""


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def output_key(pipeline: Pipeline, key: str, name: str) -> str:
    """Stable key of one output of an input. Raises KeyTooLong."""
    return _checked(f"{outputs_prefix(pipeline, key)}{name}")


def staged_key(pipeline: Pipeline, key: str, token: int, name: str) -> str:
    """Key of one output that waits to be published under ``token``. Raises KeyTooLong."""
    return _checked(f"{staged_prefix(pipeline, key)}{token}/{name}")


def trash_key(trash: Place, key: str, name: str) -> str:
    """Where an output of a deleted input is moved to. Raises KeyTooLong."""
    return _checked(f"{trash.prefix}{key}/{name}")


def outputs_prefix(pipeline: Pipeline, key: str) -> str:
    """What the keys of all outputs of one input begin with."""
    return f"{pipeline.output.prefix}{key}/"


def staged_prefix(pipeline: Pipeline, key: str) -> str:
    """What the keys of all staged outputs of one input begin with."""
    return f"{outputs_prefix(pipeline, key)}{RESERVED_PREFIX}"


def has_room(pipeline: Pipeline, key: str) -> bool:
    """Whether an input can have a result, so a manifest: where not, no output was ever written."""
    return len(f"{outputs_prefix(pipeline, key)}{MANIFEST}".encode()) <= MAX_KEY_BYTES


def parse(pipeline: Pipeline, full: str) -> OutputKey | None:
    """Read a listed key of an output location. None: it cannot be an output's.

    A key right below the location, an empty name, or an input key that no object can have.
    """
    key, slash, name = full.removeprefix(pipeline.output.prefix).rpartition("/")
    above, _, segment = key.rpartition("/")
    token = _token_in(segment)
    key = above if token else key
    if not slash or not name or len(key.encode()) > MAX_KEY_BYTES:
        return None
    return OutputKey(key, name, token)


def is_reserved(name: str) -> bool:
    """Whether a name is the control plane's own and so no output's."""
    return name.startswith(RESERVED_PREFIX)


def new_control_key(location: Place, purpose: str = _PROBE) -> str:
    """A new key for an object of the control plane itself, which no pipeline watches and no other process uses."""
    slash = "" if location.prefix.endswith("/") or not location.prefix else "/"
    return f"{location.prefix}{slash}{RESERVED_PREFIX}{purpose}-{secrets.token_hex(8)}"


def is_probe(location: Place, full: str) -> bool:
    """Whether a listed key is of an object on which the store's conditions were tried."""
    return full.removeprefix(location.prefix).lstrip("/").startswith(f"{RESERVED_PREFIX}{_PROBE}-")


def _checked(full: str) -> str:
    if len(full.encode()) > MAX_KEY_BYTES:
        raise KeyTooLong(
            f"the result's key would have more than {MAX_KEY_BYTES} bytes: upload the file under a shorter name"
        )
    return full


def _token_in(segment: str) -> int:
    """The token in one part of a staged output's key; 0: it is another part."""
    return _number(segment.removeprefix(RESERVED_PREFIX)) if segment.startswith(RESERVED_PREFIX) else 0


# ── metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def metadata_headers(pipeline: str, token: int, etag: str, modified: datetime | None) -> dict[str, str]:
    """Headers that record on an output by which pipeline, under which token and from which content it was made."""
    headers = {
        f"x-amz-meta-{_PIPELINE}": pipeline,
        f"x-amz-meta-{_TOKEN}": str(token),
        f"x-amz-meta-{_INPUT_ETAG}": _visible(etag),
    }
    if modified:
        headers[f"x-amz-meta-{_INPUT_MODIFIED}"] = modified.isoformat()
    return headers


def pipeline_of(metadata: Mapping[str, str]) -> str:
    """The name of the pipeline that made an output; empty: it names none."""
    return metadata.get(_PIPELINE, "")


def token_of(metadata: Mapping[str, str]) -> int:
    """The fencing token under which an output was written; 0: it carries none, so Yurt did not write it."""
    return _number(metadata.get(_TOKEN, ""))


def is_made_from(metadata: Mapping[str, str], etag: str) -> bool:
    """Whether an output was made from the content with this ETag."""
    return metadata.get(_INPUT_ETAG) == _visible(etag)


def input_modified(metadata: Mapping[str, str]) -> datetime | None:
    """Last-Modified of the content that an output was made from, in UTC. None: not recorded, or not a date."""
    try:
        return utc(datetime.fromisoformat(metadata.get(_INPUT_MODIFIED, "")))
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _TOKEN_DIGITS else 0


def _visible(etag: str) -> str:
    """ETags are visible ASCII; a worker's word is made so, since it becomes a header."""
    return "".join(c for c in etag if "!" <= c <= "~") or "-"
