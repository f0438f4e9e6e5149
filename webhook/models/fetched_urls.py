"""Downloads the files that are named by URL before a model is published, into a temporary folder."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from webhook.models.local_files import Counted, NoModel
from workers import tls
from workers.models import manifest
from workers.outgoing import PAST_PROXIES, why_unreachable

_SECONDS = 60.0
"""Without a byte."""
_REDIRECTS = 10


def is_url(source: str) -> bool:
    """Whether a source is no path of this machine."""
    return source.startswith(("https://", "http://"))


def file_name(url: str) -> str:
    """The name of the file that a URL leads to. Raises NoModel where it has none."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not manifest.is_path(name):
        raise NoModel("a URL has to end in the name of a file, as in https://example.com/model.onnx")
    return name


def fetch(url: str, folder: Path, counted: Counted) -> Path:
    """Download one file into a folder. Raises NoModel, OSError."""
    target = folder / file_name(url)
    if target.exists():
        raise NoModel(f"two URLs lead to a file {target.name}: publish a folder that has both")
    settings: Any = {"verify": tls.context(), "mounts": dict(PAST_PROXIES), "timeout": _SECONDS}
    try:
        with (
            httpx.Client(**settings, follow_redirects=True, max_redirects=_REDIRECTS) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
            target.open("xb") as file,
        ):
            if answer.status_code != HTTPStatus.OK:
                raise NoModel(f"{_shown(url)} was answered {answer.status_code}: is it right, and open to all?")
            for chunk in answer.iter_raw():
                file.write(chunk)
                counted(len(chunk))
    except httpx.HTTPError as error:  # a body that is shorter than announced too
        raise NoModel(f"{_shown(url)} cannot be fetched: {why_unreachable(error)}") from None
    return target


def _shown(url: str) -> str:
    """A URL without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
