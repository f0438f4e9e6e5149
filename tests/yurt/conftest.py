"""The bucket and the databases that tests of the control plane have."""

from __future__ import annotations

from tests.webhook.conftest import mortal, plain_log, postgres_dsn, postgres_to_kill, store

__all__ = ["mortal", "plain_log", "postgres_dsn", "postgres_to_kill", "store"]
