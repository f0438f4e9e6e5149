from __future__ import annotations

import pytest

from workers.inference.memory import MOST_BYTES, limit_bytes


@pytest.mark.parametrize(("there", "limit"), [(8 << 30, 7 << 30), (1 << 40, MOST_BYTES), (None, MOST_BYTES)])
def test_models_may_take_less_than_there_is_and_no_more_than_is_sensible(there: int | None, limit: int) -> None:
    assert limit_bytes(there) == limit
