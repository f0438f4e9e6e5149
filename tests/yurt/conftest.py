"""The bucket and the database that tests of the control plane have."""

from __future__ import annotations

from tests.webhook.conftest import plain_log, postgres_dsn, store

__all__ = ["plain_log", "postgres_dsn", "store"]
