"""What becomes of tokens of apps in the ledger."""

from __future__ import annotations

from tests.webhook.ledger.ledger_bench import bench
from webhook.ledger.app_tokens import AppTokens, TokenOrder
from webhook.ledger.retention import Pruner

ORDER = TokenOrder("app", ["read:photos"], 50, 100, None)


async def test_tokens_that_ended_long_ago_are_pruned(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        tokens = AppTokens(b.ledger)
        for days, column in ((89, "revoked_at"), (91, "revoked_at"), (91, "expires_at"), (400, "created_at")):
            new = await tokens.issue(ORDER)
            await b.sql(
                f"update app_tokens set {column} = yurt_now() - interval '{days} days' where id = {new.token.id}"
            )
        assert (await Pruner(b.ledger, Kept()).prune())["app_tokens"] == 2
        assert len(await tokens.page(ended=True, before=None, most=10)) == 2


class Kept:
    """Nothing else is pruned."""

    done_days = quarantine_days = workers_days = sweeps_days = events_days = 0
