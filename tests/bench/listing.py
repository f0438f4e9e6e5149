"""A bucket that only lists a given number of objects, fast enough to measure the control plane and not the bucket.

``python -m tests.bench.listing NUMBER`` prints its endpoint and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from webhook.server import listening_socket
from workers import parent_death

BUCKET = "photos-in"
PREFIX = "uploads/2026/05/photo-"
_WRITTEN = "2026-05-15T10:30:00.000Z"


def key(number: int) -> str:
    """Key of an object. Keys sort like their numbers."""
    return f"{PREFIX}{number:09}.jpg"


def page(objects: int, first: int, most: int) -> bytes:
    """One page of ListObjectsV2 as XML."""
    numbers = range(first, min(first + most, objects))
    more = "true" if numbers.stop < objects else "false"
    contents = "".join(
        f'<Contents><Key>{key(n)}</Key><LastModified>{_WRITTEN}</LastModified><ETag>"{etag(n)}"</ETag>'
        "<Size>1048576</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for n in numbers
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<KeyCount>{len(numbers)}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{more}</IsTruncated>{contents}"
        "</ListBucketResult>"
    ).encode()


def etag(number: int) -> str:
    """ETag of an object."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def application(objects: int) -> Callable[..., Awaitable[None]]:
    """The bucket as an ASGI application. Other buckets are empty."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        after = query.get("start-after", "").removeprefix(PREFIX).removesuffix(".jpg")
        there = objects if scope["path"].strip("/") == BUCKET else 0
        body = page(there, int(after) + 1 if after else 0, int(query.get("max-keys", 1000)))
        headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def main() -> None:
    """Serve until the parent process ends."""
    parent_death.watch()
    listener = listening_socket("127.0.0.1", 0)
    print(json.dumps({"endpoint": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    app = application(int(sys.argv[1]))
    config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
