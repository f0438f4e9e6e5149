"""Calls the control plane and the bucket over HTTP, for apps: no part of Yurt but this package is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from yurt.errors import NotReachable

URL, TOKENS = "YURT_URL", ("YURT_TOKEN", "YURT_ADMIN_TOKEN")
_SECONDS = 60.0
"""For one answer. A long poll takes at most 20 s."""
_TRIES = 4
_PAUSE_SECONDS = 0.25
"""Before the second try; doubles with each further one."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_ANSWER_BYTES = 64 << 20
_MAX_PAUSE_SECONDS = 30.0


class ControlPlane:
    """One control plane, and the bucket of its calls. Use from one thread; a context manager."""

    def __init__(self, url: str = "", token: str = "") -> None:
        """Both are by default those of the environment. Raises `NotReachable` where they are missing."""
        self._url = (url or os.environ.get(URL, "")).rstrip("/")
        self._token = token or next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
        if not self._url.startswith(("https://", "http://")):
            raise NotReachable(f"Set {URL} to the control plane's URL, as in http://127.0.0.1:8080.")
        if not self._token:
            raise NotReachable(
                f"Set {TOKENS[0]} to a token of the scope call:NAME (yurt tokens create), or {TOKENS[1]} to the admin "
                "token."
            )
        self._http = httpx.Client(timeout=_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request that may be repeated, and return the JSON of the answer. Raises `NotReachable`."""
        headers = {"authorization": f"Bearer {self._token}"}
        answer = self._send("the control plane", lambda: self._http.post(self._url + path, json=body, headers=headers))
        try:
            content = answer.json()
        except ValueError:
            content = None
        if answer.is_success and isinstance(content, dict):
            return content
        message = content.get("message") if isinstance(content, dict) else None
        raise NotReachable(f"The control plane answered {answer.status_code}: {message or 'no reason given'}.")

    def upload(self, url: str, headers: Mapping[str, str], content: Callable[[], Iterable[bytes]], size: int) -> None:
        """PUT an object by a presigned URL; ``content`` gives its bytes anew for each try. Raises `NotReachable`."""
        sent = {**headers, "content-length": str(size)}
        answer = self._send("the bucket", lambda: self._http.put(url, content=content(), headers=sent))
        if not answer.is_success:
            raise NotReachable(f"The bucket refused an upload: {answer.status_code} {_code(answer)}.")

    def download(self, url: str, headers: Mapping[str, str]) -> bytes:
        """GET a small object by a presigned URL. Raises `NotReachable`."""
        answer = self._send("the bucket", lambda: self._get(url, headers))
        if not answer.is_success:
            raise NotReachable(f"The bucket did not give a value: {answer.status_code} {_code(answer)}.")
        return answer.content

    def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        with self._http.stream("GET", url, headers=dict(headers)) as answer:
            if int(answer.headers.get("content-length") or 0) > _MAX_ANSWER_BYTES:
                raise NotReachable(f"The value has more than {_MAX_ANSWER_BYTES:,} bytes: read it from the bucket.")
            answer.read()
            return answer

    def _send(self, what: str, send: Callable[[], httpx.Response]) -> httpx.Response:
        for tried in range(1, _TRIES + 1):
            pause = _PAUSE_SECONDS * 2**tried
            try:
                answer = send()
            except httpx.HTTPError as error:
                if tried == _TRIES:
                    # Not the error's own words: they may show a presigned URL.
                    raise NotReachable(f"No answer from {what}: {type(error).__name__}. Is {URL} right?") from None
            else:
                if answer.status_code not in _AGAIN or tried == _TRIES:
                    return answer
                pause = max(pause, _retry_after(answer))
            time.sleep(min(pause, _MAX_PAUSE_SECONDS))
        raise AssertionError


def _retry_after(answer: httpx.Response) -> float:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdigit() else 0.0


def _code(answer: httpx.Response) -> str:
    """The store's error code, from its XML."""
    _, found, rest = answer.text[:2_000].partition("<Code>")
    return rest.partition("</Code>")[0] if found else ""
