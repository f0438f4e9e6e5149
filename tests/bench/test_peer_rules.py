"""The rules that ours is compared with, by examples worked out by hand from what their projects publish."""

from __future__ import annotations

import math

import pytest

from tests.bench.peer_rules import BeamQueueDepth, KedaAccurate, KnativePodAutoscaler
from tests.bench.replay import LIMIT, ReplayedMachine, ScalingRule, TraceReplay
from tests.bench.scaling import OurRule, compared


def moment(
    rule: ScalingRule, *, now: float = 600.0, queued: int = 0, machines: tuple[ReplayedMachine, ...] = ()
) -> TraceReplay:
    """A replay at one moment of it."""
    replay = TraceReplay(60, rule, now=now, machines=list(machines))
    replay.queue.extend([now] * queued)
    return replay


BOOTING = ReplayedMachine(ready_at=660)
BUSY = ReplayedMachine(ready_at=0, busy_until=610, idle_since=610, objects=3)
NEW = ReplayedMachine(ready_at=600, idle_since=600)
WARM = ReplayedMachine(ready_at=0, busy_until=594, idle_since=594, objects=3)
COLD = ReplayedMachine(ready_at=0, busy_until=590, idle_since=590, objects=3)


@pytest.mark.parametrize(
    ("queued", "machines", "wanted"),
    [
        (0, (), 0),
        (3, (BUSY,), 4),
        (50, (BUSY,), LIMIT),
        (0, (BUSY, WARM, COLD), 2),
        (0, (BUSY, NEW), 1),
        (0, (BOOTING, BOOTING), 2),
    ],
)
def test_beam_counts_tasks_in_flight_and_keeps_what_is_warm_or_pending(
    queued: int, machines: tuple[ReplayedMachine, ...], wanted: int
) -> None:
    rule = BeamQueueDepth()
    assert rule.wanted(moment(rule, queued=queued, machines=machines)) == wanted


@pytest.mark.parametrize(
    ("now", "queued", "machines", "wanted"),
    [
        (600, 3, (), 3),
        (602, 3, (), 0),
        (600, 3, (BUSY, BUSY), 5),
        (600, 3, (BOOTING, BUSY), 4),
        (600, 3, (COLD, BUSY), 4),
        # Beyond the limit pending Jobs are not deducted: 15 + 10 > 20.
        (600, 15, (BOOTING,) * 10, LIMIT),
        (600, 50, (), LIMIT),
    ],
)
def test_keda_starts_jobs_for_waiting_messages_at_each_poll(
    now: float, queued: int, machines: tuple[ReplayedMachine, ...], wanted: int
) -> None:
    rule = KedaAccurate()
    assert rule.wanted(moment(rule, now=now, queued=queued, machines=machines)) == wanted


@pytest.mark.parametrize(("objects", "longest_seconds"), [(1, 32), (math.inf, 22)])
def test_a_job_of_keda_takes_one_object_and_ends(objects: float, longest_seconds: int) -> None:
    """Five of 25 messages wait for the next poll, after 30 s, and the Jobs' boot; other Jobs would go on at once."""
    replay = TraceReplay(2, KedaAccurate(objects)).run([LIMIT + 5])
    assert sorted(set(replay.waits)) == [2, longest_seconds]
    assert replay.machines == []


def knative(history: list[int], ready: int, rule: KnativePodAutoscaler, now: float = 600.0) -> int:
    replay = moment(rule, now=now, machines=(BUSY,) * ready)
    replay.history.extend(history)
    return rule.wanted(replay)


def test_knative_wants_the_mean_of_a_minute_over_seventy_percent() -> None:
    assert knative([7] * 30, 10, KnativePodAutoscaler()) == 10
    assert knative([100] * 100 + [7] * 30, 10, KnativePodAutoscaler()) == 10


def test_knative_lets_go_of_half_at_once_at_most() -> None:
    assert knative([0] * 30, 9, KnativePodAutoscaler()) == 4
    assert knative([0] * 30, 1, KnativePodAutoscaler()) == 0


def test_knative_panics_at_twice_what_is_ready_and_lets_nothing_go_for_a_minute() -> None:
    rule = KnativePodAutoscaler()
    assert knative([1] * 27 + [10] * 3, 10, rule) == 5, "15 Pods are less than twice 10: no panic, half go at most"
    assert knative([1] * 27 + [10] * 3, 7, rule) == 15
    assert knative([0] * 30, 15, rule, now=660) == 15
    assert knative([0] * 30, 15, rule, now=662) == 7


def test_more_of_both_is_worse_and_more_of_one_is_told() -> None:
    def replay(seconds: float, wait: float) -> TraceReplay:
        return TraceReplay(2, OurRule(), machine_seconds=seconds, waits=[wait])

    ours = replay(100, 10)
    assert compared(replay(100, 10), ours) == "the same as our defaults"
    assert compared(replay(90, 10), ours) == "better than our defaults"
    assert compared(replay(110, 10), ours) == "worse than our defaults"
    assert compared(replay(90, 11), ours) == "cheaper, longer waits"
    assert compared(replay(110, 9), ours) == "dearer, shorter waits"


def test_what_a_replay_costs_and_how_long_objects_wait() -> None:
    replay = TraceReplay(60, OurRule(idle_seconds=10)).run([1])
    assert replay.waits == [60]
    assert replay.wait_seconds(0.95) == 60
    assert replay.machine_seconds == 60 + 20 + 10
