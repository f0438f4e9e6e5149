"""Calls the control plane and the bucket over HTTP, for functions: no part of Yurt but this package is needed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from yurt.blocking_transport import BlockingTransport, run_blocking
from yurt.errors import NotReachable
from yurt.http_api import HttpApi, PlaneAccess, store_refusal

_MAX_VALUE_BYTES = 64 << 20
_RETRY_SECONDS = 5.0
"""A command that names a wrong URL should not hold its user for long."""


class ControlPlane:
    """One control plane, and the bucket of its calls. A context manager."""

    def __init__(self, url: str = "", token: str = "") -> None:
        """Both are by default those of the environment. Raises `NotReachable` where they are missing."""
        access = PlaneAccess.of(url, token, "call:NAME", _RETRY_SECONDS)
        self._transport = BlockingTransport()
        self._api = HttpApi(self._transport, access)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run_blocking(self._transport.close())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request that may be repeated, and return the JSON of the answer. Raises `NotReachable`."""
        try:
            content = json.loads(run_blocking(self._api.call("POST", path, body)))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise NotReachable("The answer is no control plane's: look at its URL.")
        return content

    def upload(self, url: str, headers: Mapping[str, str], content: Callable[[], Iterable[bytes]], size: int) -> None:
        """PUT an object by a presigned URL; ``content`` gives its bytes anew for each try. Raises `NotReachable`."""

        async def body() -> AsyncIterator[bytes]:
            for chunk in content():
                yield chunk

        answer = run_blocking(self._api.put(url, headers, body, size)).answer
        if not answer.ok:
            raise store_refusal("refused an upload", answer)

    def download(self, url: str, headers: Mapping[str, str]) -> bytes:
        """GET a small object by a presigned URL. Raises `NotReachable`."""
        return run_blocking(self._api.get(url, headers, _MAX_VALUE_BYTES))
