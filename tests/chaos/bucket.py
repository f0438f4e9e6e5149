"""The bucket as the application sees it, without a proxy in between; and what can be made to go wrong in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import httpx

from tests.chaos.cluster import ClusterKeys
from webhook.storage.presign import Presigner, SigningKeys

_EXPIRES_SECONDS = 3600
_TIMEOUT_SECONDS = 60.0
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True, slots=True)
class Got:
    """An object."""

    etag: str
    modified: str
    metadata: Mapping[str, str]
    content: bytes


class FaultyBucket:
    """S3 with presigned URLs, and ``/_yurt/``. To be closed."""

    def __init__(self, endpoint: str, keys: ClusterKeys) -> None:
        self._number = 0
        self._endpoint = endpoint
        self._presigner = Presigner(endpoint, "auto", SigningKeys(keys.access_key, keys.secret_key))
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False, limits=limits)
        self._faults = asyncio.Lock()

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def put(self, bucket: str, key: str, content: bytes, region: str = "") -> str:
        """Write an object. Returns its ETag."""
        headers = {"x-yurt-region": region} if region else {}
        answer = await self._call("PUT", bucket, key, content=content, headers=headers)
        answer.raise_for_status()
        return answer.headers["etag"].strip('"')

    async def delete(self, bucket: str, key: str, region: str = "") -> None:
        """Delete an object."""
        headers = {"x-yurt-region": region} if region else {}
        (await self._call("DELETE", bucket, key, headers=headers)).raise_for_status()

    async def get(self, bucket: str, key: str, method: str = "GET") -> Got | None:
        """An object, or None where there is none."""
        answer = await self._call(method, bucket, key)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        said = answer.headers
        metadata = {n.removeprefix("x-amz-meta-"): v for n, v in said.items() if n.startswith("x-amz-meta-")}
        return Got(said["etag"].strip('"'), said["last-modified"], metadata, answer.content)

    async def keys(self, bucket: str) -> AsyncIterator[str]:
        """Every key."""
        after = ""
        while True:
            asked = {"list-type": "2", "start-after": after}
            answer = await self._http.get(f"{self._endpoint}/{bucket}", params=asked)
            answer.raise_for_status()
            page = ElementTree.fromstring(answer.content)
            found = [item.text or "" for item in page.iter(f"{_XML}Key")]
            for key in found:
                yield key
            if not found or page.findtext(f"{_XML}IsTruncated") != "true":
                return
            after = found[-1]

    # ── /_yurt/ ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def break_down(self, fault: Mapping[str, object]) -> dict[str, object]:
        """Set a fault. Returns it as the bucket lists it until it has happened."""
        # A delay that nobody notices tells it from others of its kind.
        self._number += 1
        delay_seconds = float(str(fault.get("delay_seconds", 0.0))) + self._number / 1e6
        async with self._faults:
            asked = {**fault, "delay_seconds": delay_seconds}
            answer = await self._http.post(f"{self._endpoint}/_yurt/faults", json=asked)
            answer.raise_for_status()
            listed: dict[str, object] = answer.json()[-1]
            return listed

    async def happened(self, fault: Mapping[str, object]) -> bool:
        """Whether a fault that was set did happen, once at least."""
        async with self._faults:
            return fault not in await self._listed()

    async def mend(self, fault: Mapping[str, object] | None = None) -> None:
        """One fault does not happen any more; or none: the store is well again."""
        async with self._faults:
            others = await self._listed() if fault else []
            (await self._http.delete(f"{self._endpoint}/_yurt/faults")).raise_for_status()
            for other in others:
                if fault and other["delay_seconds"] != fault["delay_seconds"]:
                    (await self._http.post(f"{self._endpoint}/_yurt/faults", json=other)).raise_for_status()

    async def _listed(self) -> list[dict[str, object]]:
        said: list[dict[str, object]] = (await self._http.get(f"{self._endpoint}/_yurt/faults")).json()
        return said

    async def hub(self) -> dict[str, Any]:
        """Counts of the hub."""
        said: dict[str, Any] = (await self._http.get(f"{self._endpoint}/_yurt/stats")).json()
        return said

    async def _call(self, method: str, bucket: str, key: str, **more: Any) -> httpx.Response:
        url = self._presigner.url(method, bucket, key, expires_seconds=_EXPIRES_SECONDS)
        return await self._http.request(method, url, **more)
