"""The form of tokens of apps, and what becomes of them in the ledger."""

from __future__ import annotations

import pytest

from tests.webhook.ledger.ledger_bench import bench
from webhook.ledger.app_tokens import PREFIX, AppTokens, TokenOrder, is_well_formed, new_secret
from webhook.ledger.retention import Pruner

ORDER = TokenOrder("app", ["read:photos"], 50, 100, None)


def test_each_text_is_another_and_well_formed() -> None:
    drawn = {new_secret() for _ in range(100)}
    assert len(drawn) == 100
    assert all(is_well_formed(secret) and len(secret) == len(PREFIX) + 49 for secret in drawn)


@pytest.mark.parametrize("position", range(len(PREFIX), len(PREFIX) + 49, 7))
def test_a_mistyped_text_is_told_apart(position: int) -> None:
    secret = new_secret()
    other = "a" if secret[position] != "a" else "b"
    assert not is_well_formed(secret[:position] + other + secret[position + 1 :])
    assert not is_well_formed(secret[:position] + secret[position + 1 :])
    assert not is_well_formed(secret.replace(PREFIX, "yurt_bpp_"))


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

    done_days = quarantine_days = workers_days = sweeps_days = 0
