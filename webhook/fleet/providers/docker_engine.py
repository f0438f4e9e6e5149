"""Calls a container engine: the Docker Engine API over a unix socket, TCP or TLS, as Docker and Podman serve it.

Every call has a deadline and reads a bounded answer. No credential of a call stands in an error.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from webhook.fleet.providers import ProviderError
from webhook.provider_settings import DockerSettings
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import causes, why_unreachable

OLDEST_API, NEWEST_API = (1, 40), (1, 47)
"""Versions of the API that have all that is used here. Where the engine speaks a newer one, it is asked for ours."""
ANSWER_BYTES = 16 << 20
"""Largest answer that is read: a list of thousands of containers."""
CALL_SECONDS = 20.0
_MESSAGE_CHARACTERS = 400


class EngineError(ProviderError):
    """The engine could not be reached, or answered with an error."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, retry=not 400 <= status < 500, hint=hint)
        self.status = status
        """Of its answer; 0: there was none."""


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """What an engine is."""

    name: str
    """``Docker 28.2.2`` or ``Podman 4.3.1``."""
    api: tuple[int, int]
    """The version of the API that is used with it."""

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman: its Docker-compatible API leaves some things out."""
        return self.name.startswith("Podman")


class DockerEngine:
    """One container engine.

    Args:
        settings: Where it listens, and the certificates for it.

    """

    def __init__(self, settings: DockerSettings) -> None:
        self.host = settings.host
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._version: EngineVersion | None = None

    async def get(self, path: str, **params: str) -> Any:
        """Return the JSON of an answer. Raises EngineError, with the status of an answer that is no success."""
        return _json(await self.call("GET", path, params))

    async def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        """Make one call and return its answer's body. Raises EngineError."""
        async with self.stream(method, path, params, body, seconds=seconds) as response:
            return await read_bounded(response.aiter_raw(), ANSWER_BYTES)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> AsyncIterator[httpx.Response]:
        """Make one call, of which the caller reads the answer. Raises EngineError, also while it is read."""
        api = _dotted((await self.version()).api)
        options: dict[str, Any] = {"params": dict(params or {}), "json": body, "headers": dict(headers or {})}
        async with (
            self._within(seconds, f"{method} {path}"),
            self._opened().stream(method, f"/v{api}{path}", **options) as response,
        ):
            if response.status_code >= 300:  # 304 too: it says that there was nothing to do
                if response.status_code == 400:  # perhaps of an engine that was updated, and wants a newer version
                    self._version = None
                raise EngineError(await _message(response), status=response.status_code)
            yield response

    async def version(self) -> EngineVersion:
        """Return what the engine is, asked once for each time that it was reached anew. Raises EngineError."""
        if self._version is None:
            async with self._within(CALL_SECONDS, "GET /version"), self._opened().stream("GET", "/version") as response:
                body = await read_bounded(response.aiter_raw(), ANSWER_BYTES)
            if response.status_code != 200:
                status = response.status_code
                raise EngineError(f"{self.host} is no container engine: it answered /version with {status}")
            self._version = _version(self.host, _json(body))
        return self._version

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = _client(self._settings)
        return self._client

    @asynccontextmanager
    async def _within(self, seconds: float, about: str) -> AsyncIterator[None]:
        """A deadline for one call, and its failures in words."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self._version = None
            raise EngineError(f"{self.host} did not answer {about} within {seconds:g} s") from None
        except BodyTooLong:
            raise EngineError(f"{self.host} answered {about} with more than is read") from None
        except (httpx.HTTPError, OSError) as error:
            self._version = None  # another engine may listen there next time
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> EngineError:
        kinds = {type(cause) for cause in causes(error)}
        if PermissionError in kinds:
            hint = "may this user write to the socket? On Docker, members of the group docker may"
            return EngineError(f"{self.host} may not be used", hint=hint)
        if FileNotFoundError in kinds:
            hint = "is the engine running? Docker: systemctl start docker; Podman: systemctl start podman.socket"
            return EngineError(f"{self.host} does not exist, or a certificate for it", hint=hint)
        hint = "is the engine running, does it listen there, and does it speak TLS where host is https://?"
        return EngineError(f"{self.host} was not reached: {why_unreachable(error)}", hint=hint)


def _client(settings: DockerSettings) -> httpx.AsyncClient:
    """A client without kept connections: an engine that was restarted would have closed them."""
    parts = urlsplit(settings.host)
    over_socket = parts.scheme == "unix"
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(
        uds=parts.path if over_socket else None,
        verify=_tls(settings) if parts.scheme == "https" else False,
        limits=limits,
        trust_env=False,
    )
    base = {"unix": "http://engine", "tcp": f"http://{parts.netloc}", "https": f"https://{parts.netloc}"}
    # Never by a proxy of the environment: that one is for the store and for registries.
    return httpx.AsyncClient(
        base_url=base[parts.scheme],
        transport=transport,
        headers={"accept-encoding": "identity"},
        timeout=None,  # noqa: S113 - each call has a deadline of its own
        follow_redirects=False,
        trust_env=False,
    )


def _tls(settings: DockerSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca)
    if settings.cert:
        context.load_cert_chain(settings.cert, settings.key)
    return context


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise EngineError("the engine's answer is no JSON", hint="does a container engine listen there?") from None


async def _message(response: httpx.Response) -> str:
    """What the engine says about a call that failed."""
    try:
        body = await read_bounded(response.aiter_raw(), 64 << 10)
        text = json.loads(body)["message"]
    except (BodyTooLong, ValueError, KeyError, TypeError):
        text = ""
    return " ".join(str(text).split())[:_MESSAGE_CHARACTERS] or f"status {response.status_code}"


def _version(host: str, about: Any) -> EngineVersion:
    try:
        offered = _numbers(about["ApiVersion"])
        lowest = _numbers(about.get("MinAPIVersion") or about["ApiVersion"])
        components = about.get("Components") or []
        kind = "Podman" if any("Podman" in component["Name"] for component in components) else "Docker"
        name = f"{kind} {about['Version'][:40]}"
    except (KeyError, TypeError, ValueError, AttributeError):
        raise EngineError(f"{host} is no container engine: its /version is of another form") from None
    if offered < OLDEST_API or lowest > NEWEST_API:
        spoken = f"{_dotted(lowest)} to {_dotted(offered)}"
        needed = f"{_dotted(OLDEST_API)} to {_dotted(NEWEST_API)}"
        raise EngineError(
            f"{name} at {host} speaks API {spoken}, Yurt {needed}", status=400, hint="update the older of both"
        )
    return EngineVersion(name, min(offered, NEWEST_API))


def _numbers(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
