"""Asks an image's registry whether it would give the image out, as rented hosts will ask it. Nothing is pulled.

The OCI distribution API: a request for the manifest, again with a token or with Basic credentials where it wants them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from webhook.fleet.providers import ProviderFinding
from webhook.fleet.providers.http_api import parsed
from webhook.store_endpoint import is_loopback
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import PAST_PROXIES, sends_in_clear, why_unreachable

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"
_SECONDS = 5.0
"""Of one request; there are three at most."""
_TOKEN_BYTES = 64 << 10
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """Credentials at the registry of an image. Rented hosts get them."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image by the parts of its reference."""

    registry: str
    """As people write it: ``docker.io``, ``ghcr.io``."""
    repository: str
    reference: str
    """A tag or a digest."""

    @classmethod
    def read(cls, image: str) -> RegistryImage:
        """Read ``registry.example.com/you/yurt:0.2``; without a registry it is Docker's, without a tag ``latest``."""
        first, slash, rest = image.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if named else (_DOCKER_HUB, image)
        path, at, digest = path.partition("@")
        repository, _, tag = path.partition(":")
        if registry == _DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, digest if at else tag or "latest")

    @property
    def url(self) -> str:
        """Of its manifest."""
        host = _DOCKER_HUB_API if self.registry == _DOCKER_HUB else self.registry
        scheme = "http" if is_loopback(f"http://{host}") else "https"
        return f"{scheme}://{host}/v2/{self.repository}/manifests/{self.reference}"


def image_not_known(image: str, why: str) -> ProviderFinding:
    """Say that nobody knows before the first machine whether an image is there. No fault."""
    return ProviderFinding(ok=True, message=f"whether {image} is there is not known: {why}")


async def node_image_finding(image: str) -> ProviderFinding:
    """Whether everybody may pull an image. If not, a cluster's nodes may: by credentials or a mirror of their own."""
    found = await image_finding(image, None)
    return found if found == _there(image) else image_not_known(image, "nodes pull it")


async def image_finding(
    image: str, login: RegistryLogin | None, *, private: str = "set image_login, and credentials that may pull it"
) -> ProviderFinding:
    """Whether a host could pull an image. Where the registry cannot be asked, that is said, and is no fault.

    Args:
        image: Its reference.
        login: What hosts log in with. None: nothing.
        private: What to do for a private image.

    """
    try:
        wanted = RegistryImage.read(image)
        _ = urlsplit(wanted.url).port  # beyond 65535 the client fails in other ways
        status = await _asked(wanted, login)
    except ValueError as error:
        return ProviderFinding(ok=False, message=f"{image} names no registry: {error}", hint="mend its name")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return image_not_known(image, why_unreachable(error))
    match status:
        case 200:
            return _there(image)
        case 401 | 403:
            hint = f"is its name right? For a private image {private}"
            return ProviderFinding(ok=False, message=f"{image} may not be pulled", hint=hint)
        case 404:
            hint = "push it, or mend its name: a host that cannot pull it never boots, and is paid for"
            return ProviderFinding(ok=False, message=f"{image} does not exist", hint=hint)
    return image_not_known(image, f"its registry answers {status}")


def _there(image: str) -> ProviderFinding:
    return ProviderFinding(ok=True, message=f"{image} is there")


async def _asked(image: RegistryImage, login: RegistryLogin | None) -> int:
    """The status of the registry's last answer. Raises httpx.HTTPError, httpx.InvalidURL."""
    basic = httpx.BasicAuth(login.username, login.password) if login else None
    async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, mounts=dict(PAST_PROXIES)) as client:
        answer = await client.head(image.url, headers={"Accept": _MANIFESTS})
        if answer.status_code != 401:
            return answer.status_code
        if (allowed := await _authorization(client, answer.headers.get("www-authenticate", ""), basic)) is None:
            return answer.status_code
        return (await client.head(image.url, headers={"Accept": _MANIFESTS}, auth=allowed)).status_code


async def _authorization(client: httpx.AsyncClient, challenge: str, basic: httpx.BasicAuth | None) -> httpx.Auth | None:
    """What a registry wants by its challenge. None: it cannot be had."""
    scheme, _, asked = challenge.partition(" ")
    if scheme.lower() != "bearer":
        return basic if scheme.lower() == "basic" else None
    token = await _token(client, dict(_PARAMETER.findall(asked)), basic)
    return _BearerAuth(token) if token else None


class _BearerAuth(httpx.Auth):
    """Sends a token with a request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


async def _token(client: httpx.AsyncClient, asked: Mapping[str, str], basic: httpx.BasicAuth | None) -> str:
    """A token of the service that the registry names. Empty: it gives none. Raises httpx.HTTPError."""
    realm = asked.get("realm", "")
    if not realm.startswith(("https://", "http://")) or sends_in_clear(realm):
        return ""
    query = {name: asked[name] for name in ("service", "scope") if name in asked}
    async with client.stream("GET", realm, params=query, auth=basic) as response:
        try:
            answer = parsed(await read_bounded(response.aiter_bytes(), _TOKEN_BYTES))
        except BodyTooLong:
            return ""
    shown = answer if isinstance(answer, dict) else {}
    found = shown.get("token") or shown.get("access_token")
    return found if isinstance(found, str) and found.isascii() and found.isprintable() else ""
