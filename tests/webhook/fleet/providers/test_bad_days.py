"""The autoscaler over the real providers and fakes that do worse than the real APIs, for hours of bad days."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.webhook.fleet.providers.bad_days import BadDays, BadPlace
from tests.webhook.fleet.providers.bad_places import bad_fly, bad_kube, bad_runpod, bad_vast
from webhook.ledger.machines import MachineState

Opened = Callable[[Path], AbstractAsyncContextManager[BadPlace]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("opened", [bad_vast, bad_fly, bad_runpod, bad_kube], ids=lambda one: one.__name__)
async def test_whatever_goes_wrong_no_machine_is_left_and_none_is_uncounted(
    opened: Opened, seed: int, tmp_path: Path
) -> None:
    with capture_logs():
        async with opened(tmp_path) as place:
            days = BadDays(place, seed)
            await days.play(40)
            await days.recover()
            assert place.living() == []
            assert set(days.fleet.states()) == {MachineState.GONE}
            assert days.fleet.pending["a"] == 0
            if (books := place.books()) is not None:
                assert {label for label, usd in books.items() if usd} <= days.counted()
                # What costs more now is counted at the old price until the next list that is true.
                assert days.hourly_usd() >= sum(books.values()) * Decimal("0.95") > 0
