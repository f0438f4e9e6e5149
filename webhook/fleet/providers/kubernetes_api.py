"""Calls a Kubernetes API server: bounded answers, deadlines, all pages of a list, and errors in words.

Six calls over httpx: the client libraries put no bound on an answer and no deadline on a whole list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.kubernetes_access import ClusterAccess
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import PAST_PROXIES, why_unreachable

CALL_SECONDS = 20.0
PAGE_ITEMS = 250
_PAGE_BYTES = 16 << 20
_MOST_PAGES = 100
_LIST_ATTEMPTS = 3
"""A list whose next page has expired is started anew so often."""
_MESSAGE_CHARACTERS = 400
_LONGEST_RETRY_SECONDS = 300.0
_GONE = 410
_RBAC_HINT = "grant what infra/kubernetes/yurt.yaml grants: kubectl apply -f infra/kubernetes/yurt.yaml"
_NO_ROOM = re.compile(r"exceeded quota")


class ApiError(ProviderError):
    """The API server could not be reached, or answered with an error."""

    def __init__(self, message: str, *, status: int = 0, retry_seconds: float = 30.0, hint: str = "") -> None:
        super().__init__(message, retry=status in (0, 409, 410, 429) or status >= 500, hint=hint)
        self.status = status
        """Of its answer; 0: there was none."""
        self.retry_seconds = retry_seconds

    def of_mint(self, token: str) -> ProviderError:
        """What it means for a machine that was to be minted: no room, never, or perhaps later. Without its token."""
        said = self.message.replace(token, "…")
        if self.status == 429 or (self.status == 403 and _NO_ROOM.search(said)):
            return ProviderBusy(said, retry_seconds=self.retry_seconds, hint=self.hint)
        return ProviderError(said, hint=self.hint) if self.retry else ProviderRefused(said, hint=self.hint)


class KubernetesApi:
    """One API server.

    Args:
        find: Reads how to reach it: once, and again after the server has not taken the credentials.

    """

    def __init__(self, find: Callable[[], ClusterAccess]) -> None:
        self._find = find
        self._access: ClusterAccess | None = None
        self._client: httpx.AsyncClient | None = None

    async def server(self) -> str:
        """URL of the API server. Raises ProviderRefused where it is not known."""
        return (await self._found()).server

    async def call(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Make one call and return its answer's JSON object. Raises ProviderError, ApiError where there is a status."""
        content = await self._answer(method, path, params, body)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ApiError(f"the Kubernetes API answered {method} {path} with something else than an object")
        return answer

    async def items(self, path: str, **params: str) -> list[Mapping[str, Any]]:
        """Return all items of a list, as they were at one moment. Raises ProviderError where a page is missing."""
        for _ in range(_LIST_ATTEMPTS):
            try:
                return [item async for item in self._pages(path, params)]
            except ApiError as error:
                if error.status != _GONE:
                    raise
        raise ApiError(f"the list {path} changed faster than its pages could be read")

    async def text(self, path: str, params: Mapping[str, str]) -> str:
        """Return an answer that is plain text. Raises ProviderError."""
        return (await self._answer("GET", path, params)).decode("utf-8", "replace")

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        following = ""
        for _ in range(_MOST_PAGES):
            page = {**params, "limit": str(PAGE_ITEMS), **({"continue": following} if following else {})}
            answer = await self.call("GET", path, page)
            # A server that serves lists of nothing serves `null`; an answer without the field is no list.
            if "items" not in answer or not isinstance(items := answer["items"] or [], list):
                raise ApiError(f"the Kubernetes API answered {path} without a list")
            for item in items:
                yield item
            following = (answer.get("metadata") or {}).get("continue") or ""
            if not following:
                return
        raise ApiError(f"the list {path} has more than {_MOST_PAGES} pages")

    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        access, client = await self._found(), await self._opened()
        options: dict[str, Any] = {"params": dict(params or {}), "json": body, "headers": dict(access.headers())}
        if access.server_name:
            options["extensions"] = {"sni_hostname": access.server_name}
        async with self._within(f"{method} {path}"), client.stream(method, access.server + path, **options) as response:
            content = await read_bounded(response.aiter_bytes(), _PAGE_BYTES)
        if not response.is_success:
            raise await self._error(response, content, method, path)
        return content

    async def _error(self, response: httpx.Response, content: bytes, method: str, path: str) -> ApiError:
        status = response.status_code
        if status == 401:
            # Tokens and certificates of a kubeconfig are renewed in the file.
            await self._forget()
        said = f"{method} {path} answered {status}: {_message(content)}"
        return ApiError(said, status=status, retry_seconds=_retry_seconds(response), hint=_hint(status, said))

    async def _forget(self) -> None:
        self._access = None
        await self.aclose()

    async def _found(self) -> ClusterAccess:
        if self._access is None:
            self._access = await asyncio.to_thread(self._find)
        return self._access

    async def _opened(self) -> httpx.AsyncClient:
        access = await self._found()
        if self._client is None:
            limits = httpx.Limits(max_connections=20, max_keepalive_connections=4, keepalive_expiry=30)
            self._client = httpx.AsyncClient(
                verify=access.tls,
                follow_redirects=False,
                limits=limits,
                timeout=CALL_SECONDS,
                mounts=PAST_PROXIES,
            )
        return self._client

    @asynccontextmanager
    async def _within(self, about: str) -> AsyncIterator[None]:
        """A deadline for one call, and its failures in words."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                yield
        except TimeoutError:
            raise ApiError(f"the Kubernetes API did not answer {about} within {CALL_SECONDS:g} s") from None
        except BodyTooLong:
            raise ApiError(f"the Kubernetes API answered {about} with more than is read") from None
        except (httpx.HTTPError, OSError) as error:
            server = await self.server()
            hint = "is it the right server, and does it run?"
            raise ApiError(f"{server} was not reached: {why_unreachable(error)}", hint=hint) from error


def _message(content: bytes) -> str:
    """What an error says: a Status has a message, a proxy's page has none."""
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        if isinstance(message := json.loads(content).get("message"), str):
            return " ".join(message.split())[:_MESSAGE_CHARACTERS]
    return "no reason given"


def _retry_seconds(response: httpx.Response) -> float:
    wanted = response.headers.get("Retry-After", "")
    return min(max(float(wanted), 1.0), _LONGEST_RETRY_SECONDS) if re.fullmatch(r"[0-9]{1,6}", wanted) else 30.0


def _hint(status: int, message: str) -> str:
    if status == 401:
        return "has the token or certificate expired? Its file is read again at the next call"
    if status == 403 and _NO_ROOM.search(message):
        return "raise the namespace's ResourceQuota, or the pool's limit is too high"
    if status == 403:
        return _RBAC_HINT if " cannot " in message else "the cluster's policy forbids it: change it, or the settings"
    return "is it a worker's setting that the cluster does not take?" if status == 422 else ""
