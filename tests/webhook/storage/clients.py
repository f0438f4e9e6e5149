"""The control plane's client of a store, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from webhook.storage import ObjectStore
from webhook.storage.presign import SigningKeys

KEYS = SigningKeys("tid_test", "tsec_test", "session_secret")


@contextlib.asynccontextmanager
async def opened(endpoint: str, *, answer_seconds: float = 5, attempts: int = 1) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(endpoint, "auto", KEYS, answer_seconds=answer_seconds, attempts=attempts)
    try:
        yield store
    finally:
        await store.aclose()
