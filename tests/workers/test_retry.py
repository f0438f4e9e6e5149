from __future__ import annotations

import pytest

from workers.retry import Backoff, NetworkFault


class Peer:
    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "answer"


async def test_asks_again_while_it_helps() -> None:
    peer = Peer(NetworkFault("busy", transient=True), NetworkFault("busy", transient=True))
    assert await Backoff(first_seconds=0.001).retrying()(peer) == "answer"
    assert peer.calls == 3


def test_a_pause_doubles_up_to_the_longest_and_is_never_less_than_half() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=60.0)
    wholes = {1: 1, 2: 2, 3: 4, 6: 32, 7: 60, 8: 60, 10_000: 60}
    for failures, whole in wholes.items():
        drawn = [backoff.pause_seconds(failures) for _ in range(200)]
        assert all(whole / 2 <= pause <= whole for pause in drawn)
        assert max(drawn) - min(drawn) > whole / 8, "workers that failed together do not come back together"


async def test_gives_up_after_so_many_attempts() -> None:
    last = NetworkFault("busy", transient=True)
    peer = Peer(NetworkFault("busy", transient=True), last)
    with pytest.raises(NetworkFault) as raised:
        await Backoff(attempts=2, first_seconds=0.001).retrying()(peer)
    assert raised.value is last
    assert peer.calls == 2


@pytest.mark.parametrize("fault", [NetworkFault("no", transient=False), ValueError("a bug")])
async def test_asks_once_where_it_does_not_help(fault: Exception) -> None:
    peer = Peer(fault)
    with pytest.raises(type(fault)):
        await Backoff().retrying()(peer)
    assert peer.calls == 1


async def test_waits_grow_and_honour_retry_after() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    peer = Peer(*(NetworkFault("busy", transient=True, after_seconds=100) for _ in range(20)))
    retrying = Backoff(first_seconds=0.5, longest_seconds=8).retrying()
    await retrying.copy(sleep=sleep)(peer)
    limits = [min(0.5 * 2**number, 8) for number in range(20)]
    assert all(100 <= seconds <= 100 + limit for seconds, limit in zip(slept, limits, strict=True))
    assert len(set(slept)) > 1  # jitter: a crowd does not come back together
