"""How long an object waits between two attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.ledger.ledger_bench import POLICY
from webhook.ledger.policy import Policy


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_the_wait_doubles_up_to_its_limit_with_at_most_half_taken_off(attempts: int, jitter: float) -> None:
    whole = min(POLICY.backoff_limit_seconds, POLICY.backoff_seconds * 2 ** (attempts - 1))
    assert whole / 2 <= POLICY.delay_seconds(attempts, lambda: jitter) <= whole


def test_the_wait_is_finite_after_any_number_of_attempts() -> None:
    policy = Policy(9_999, 9_999, 3, backoff_seconds=1e6, backoff_limit_seconds=1e9)
    assert policy.delay_seconds(32_000, lambda: 1.0) == 1e9
