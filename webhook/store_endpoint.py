"""Reads the address of an S3 endpoint as people write it, and decides where in a URL a bucket's name stands.

A presigned URL signs the Host header, and HTTP clients write it their own way: in small letters, without the port that
the scheme has anyway, an international name in its ASCII form. Signed is what they send, so an endpoint is brought into
that form by the client library that workers use.

A bucket is the first label of the host (virtual-hosted style) or the first segment of the path (path style). AWS's own
hosts, and those of the providers that follow it, have a DNS name for each bucket; Tigris and some others take nothing
else. MinIO, Ceph and Garage mostly have none. Every store but those named below takes path style.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote

import httpx

Addressing = Literal["auto", "virtual", "path"]
"""Where the bucket's name stands: in the host, in the path, or as the endpoint's host decides."""

_VIRTUAL_HOSTS = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "storage.dev",
    "tigris.dev",
    "storage.googleapis.com",
    "aliyuncs.com",
    "myqcloud.com",
)
"""Providers that have a DNS name for each bucket, and that take path style not everywhere or not for ever."""
_has_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://").match
_is_label = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]").fullmatch
_is_authority = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?").fullmatch
_LAST_PORT = 65_535
_is_path = re.compile(r"(/[A-Za-z0-9._~-]+)*").fullmatch


def normalised(endpoint: str) -> str:
    """Return an endpoint as HTTP clients send it: ``https://host[:port][/path]``.

    Without a scheme it is https, and on this machine http. Raises ValueError, with a message that does not repeat it:
    it may hold a password.
    """
    text = endpoint.strip()
    if not _has_scheme(text):
        text = f"{'http' if is_loopback(f'http://{text}') else 'https'}://{text}"
    try:
        url = httpx.URL(text)
        authority = url.netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise ValueError("is no address of an S3 endpoint: write it like https://host or http://host:9000") from None
    if url.scheme not in ("http", "https") or not _is_authority(authority) or (url.port or 0) > _LAST_PORT:
        raise ValueError("has to be of the form https://host or http://host:9000")
    if url.userinfo or url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("has neither user, query nor fragment: keys come from AWS_ACCESS_KEY_ID and the like")
    path = url.raw_path.decode("ascii").rstrip("/")
    if not _is_path(path):
        raise ValueError("has a path of other characters than letters, digits, - . _ ~ and /")
    return f"{url.scheme}://{authority}{path}"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, by its host's name or address."""
    try:
        host = httpx.URL(url).host.rstrip(".")
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def origin_of(endpoint: str, bucket: str, addressing: Addressing = "auto") -> tuple[str, str]:
    """Return origin and path prefix of a bucket at an endpoint. Raises ValueError as ``normalised`` does."""
    url = httpx.URL(normalised(endpoint))
    authority = url.netloc.decode("ascii")
    if in_host(endpoint, bucket, addressing):
        return f"{url.scheme}://{bucket}.{authority}", ""
    return f"{url.scheme}://{authority}", f"{url.path.rstrip('/')}/{quote(bucket, safe='')}"


def in_host(endpoint: str, bucket: str, addressing: Addressing) -> bool:
    """Whether the bucket's name stands in the host.

    Never where the host would be none, or a certificate could not name it: for a bucket with dots, capitals or
    underscores, before an IP address, or where the endpoint has a path.
    """
    url = httpx.URL(normalised(endpoint))
    if url.path.strip("/") or not _is_label(bucket) or _is_address(url.host) or addressing == "path":
        return False
    return addressing == "virtual" or any(
        url.host == known or url.host.endswith(f".{known}") for known in _VIRTUAL_HOSTS
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
