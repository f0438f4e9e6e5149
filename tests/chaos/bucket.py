"""S3 client of the simulated application: reads and writes the bucket past the proxies, and sets faults in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.chaos.cluster import ClusterKeys
from webhook.storage.presign import Presigner, SigningKeys

_EXPIRES_SECONDS = 3600
_TIMEOUT_SECONDS = 60.0
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True, slots=True)
class BucketObject:
    """An object read from a bucket."""

    etag: str
    modified: str
    metadata: Mapping[str, str]
    content: bytes


class FaultyBucket:
    """Client of the local bucket: S3 over presigned URLs, and its ``/_yurt/`` endpoints for faults. Close after use."""

    def __init__(self, endpoint: str, keys: ClusterKeys) -> None:
        self._number = 0
        self._endpoint = endpoint
        self._signer = S3SigV4Auth(Credentials(keys.access_key, keys.secret_key), "s3", "auto")
        self._presigner = Presigner(endpoint, "auto", SigningKeys(keys.access_key, keys.secret_key))
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False, limits=limits)
        self._faults = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def put(self, bucket: str, key: str, content: bytes, region: str = "") -> str:
        """Write an object. Returns its ETag."""
        headers = {"x-yurt-region": region} if region else {}
        response = await self._call("PUT", bucket, key, content=content, headers=headers)
        response.raise_for_status()
        return response.headers["etag"].strip('"')

    async def delete(self, bucket: str, key: str, region: str = "") -> None:
        """Delete an object."""
        headers = {"x-yurt-region": region} if region else {}
        (await self._call("DELETE", bucket, key, headers=headers)).raise_for_status()

    async def get(self, bucket: str, key: str, method: str = "GET") -> BucketObject | None:
        """An object, or None where there is none."""
        response = await self._call(method, bucket, key)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        headers = response.headers
        metadata = {n.removeprefix("x-amz-meta-"): v for n, v in headers.items() if n.startswith("x-amz-meta-")}
        return BucketObject(headers["etag"].strip('"'), headers["last-modified"], metadata, response.content)

    async def keys(self, bucket: str) -> AsyncIterator[str]:
        """Yield every key of a bucket, in order."""
        after = ""
        while True:
            query = {"list-type": "2", "start-after": after}
            listing = AWSRequest("GET", f"{self._endpoint}/{bucket}?{urlencode(query, quote_via=quote)}")
            self._signer.add_auth(listing)
            response = await self._http.get(str(listing.url), headers=dict(listing.headers.items()))
            response.raise_for_status()
            page = ElementTree.fromstring(response.content)
            found = [item.text or "" for item in page.iter(f"{_XML}Key")]
            for key in found:
                yield key
            if not found or page.findtext(f"{_XML}IsTruncated") != "true":
                return
            after = found[-1]

    # ── /_yurt/ ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def add_fault(self, fault: Mapping[str, object]) -> dict[str, object]:
        """Set a fault. Returns it as the bucket lists it until it has happened."""
        # Faults have no ids: a delay of some microseconds tells this one from others of its kind.
        self._number += 1
        delay_seconds = float(str(fault.get("delay_seconds", 0.0))) + self._number / 1e6
        async with self._faults:
            query = {**fault, "delay_seconds": delay_seconds}
            response = await self._http.post(f"{self._endpoint}/_yurt/faults", json=query)
            response.raise_for_status()
            listed: dict[str, object] = response.json()[-1]
            return listed

    async def has_happened(self, fault: Mapping[str, object]) -> bool:
        """Whether a fault that was set has happened at least once."""
        async with self._faults:
            return fault not in await self._listed()

    async def clear_faults(self, fault: Mapping[str, object] | None = None) -> None:
        """Clear one fault, or all of them."""
        async with self._faults:
            others = await self._listed() if fault else []
            (await self._http.delete(f"{self._endpoint}/_yurt/faults")).raise_for_status()
            for other in others:
                if fault and other["delay_seconds"] != fault["delay_seconds"]:
                    (await self._http.post(f"{self._endpoint}/_yurt/faults", json=other)).raise_for_status()

    async def _listed(self) -> list[dict[str, object]]:
        faults: list[dict[str, object]] = (await self._http.get(f"{self._endpoint}/_yurt/faults")).json()
        return faults

    async def hub(self) -> dict[str, Any]:
        """Counters of the notification hub."""
        stats: dict[str, Any] = (await self._http.get(f"{self._endpoint}/_yurt/stats")).json()
        return stats

    async def _call(self, method: str, bucket: str, key: str, **more: Any) -> httpx.Response:
        url = self._presigner.url(method, bucket, key, expires_seconds=_EXPIRES_SECONDS)
        return await self._http.request(method, url, **more)
