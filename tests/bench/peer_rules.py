"""Published scaling rules of Beam, KEDA and Knative, at their own defaults but for the limit of machines.

Each is written anew after its project's source, which its docstring names. One machine stands for one container, Job or
Pod, and works on one object at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.replay import LIMIT, STEP_SECONDS, ReplayedMachine, ScalingRule, TraceReplay

_KEEP_WARM_SECONDS = 10
_POLL_SECONDS = 30
_TARGET = 0.7
_STABLE_SECONDS, _PANIC_SECONDS = 60, 6
_PANIC_THRESHOLD = 2.0
_MOST_UP, _MOST_DOWN = 1000, 2


class BeamQueueDepth:
    """Beam: one container for each task in flight; one goes that has been idle for ten seconds since its last task.

    beam-cloud/beta9, pkg/abstractions/taskqueue/autoscaler.go, ``taskQueueScaleFunc``: each second
    ``min(ceil(in flight / tasks_per_container), max_containers)``, with the default of 1 for the former. Waiting and
    running tasks are in flight. pkg/abstractions/common/instance.go, ``HandleScalingEvent``: less running and pending
    containers; what is too many is stopped. taskqueue/instance.go, ``stoppableContainers``: but none that is pending,
    has a task, or has a keep-warm lock, which taskqueue.go, ``TaskQueueComplete``, sets for ``keep_warm_seconds``, by
    default 10. So a container that has had no task may go at once.
    """

    objects_per_machine = math.inf

    def wanted(self, replay: TraceReplay) -> int:
        """See `ScalingRule.wanted`."""
        stoppable = sum(not self._is_warm(machine, replay.now) for machine in replay.idle)
        return max(min(replay.work, LIMIT), len(replay.machines) - stoppable)

    def _is_warm(self, machine: ReplayedMachine, now: float) -> bool:
        return machine.objects > 0 and now - machine.idle_since < _KEEP_WARM_SECONDS


@dataclass
class KedaAccurate:
    """KEDA's ScaledJob with the strategy "accurate": looks every 30 s, and starts Jobs for messages that wait.

    kedacore/keda, pkg/scaling/executor/scale_jobs.go, ``accurateScalingStrategy``: the limit less all Jobs where Jobs
    and messages together pass the limit, else messages less pending Jobs. ``maxScale`` is the queue's length, up to the
    limit. Pending are Jobs whose Pod does not run yet. A Job "will initialize, pull a single event from the message
    source, and process to completion and terminate": keda.sh/docs/latest/concepts/scaling-jobs. ``pollingInterval`` is
    30 s by default: keda.sh/docs/latest/reference/scaledjob-spec.

    Args:
        objects_per_machine: After so many a Job ends; it ends too where nothing waits.

    """

    objects_per_machine: float = 1

    def wanted(self, replay: TraceReplay) -> int:
        """See `ScalingRule.wanted`."""
        running = len(replay.machines) - len(replay.idle)  # the others have ended
        if int(replay.now) % _POLL_SECONDS:
            return running
        return running + self._new(min(len(replay.queue), LIMIT), running, len(replay.machines) - len(replay.ready))

    def _new(self, most: int, running: int, pending: int) -> int:
        return max(0, LIMIT - running if most + running > LIMIT else most - pending)


class KnativePodAutoscaler:
    """Knative's KPA: the mean of 60 s, or in panic that of 6 s, over 70 % of what a Pod can hold.

    knative/serving, pkg/autoscaler/scaling/autoscaler.go, ``Scale``, every 2 s, with the defaults of
    config/core/configmaps/autoscaler.yaml. Panic begins where the short mean wants twice as many Pods as are ready, and
    ends 60 s after it last did; meanwhile no Pod is let go. At most half of the ready ones go at once. ``max-scale``
    then bounds the result.
    """

    objects_per_machine = math.inf

    def __init__(self) -> None:
        self._panic_at: float | None = None
        self._most_in_panic = 0

    def wanted(self, replay: TraceReplay) -> int:
        """See `ScalingRule.wanted`."""
        ready = max(1, len(replay.ready))
        stable, panic = (self._pods(replay.history, seconds) for seconds in (_STABLE_SECONDS, _PANIC_SECONDS))
        self._note_panic(panic / ready >= _PANIC_THRESHOLD, replay.now)
        least, most = ready // _MOST_DOWN, ready * _MOST_UP
        wanted = min(max(stable, least), most)
        if self._panic_at is not None:
            self._most_in_panic = max(wanted, min(max(panic, least), most), self._most_in_panic)
            wanted = self._most_in_panic
        return min(wanted, LIMIT)

    def _note_panic(self, over: bool, now: float) -> None:
        if over:
            self._panic_at = now
        elif self._panic_at is not None and self._panic_at + _STABLE_SECONDS < now:
            self._panic_at, self._most_in_panic = None, 0

    def _pods(self, history: Sequence[int], seconds: int) -> int:
        window = history[-(seconds // STEP_SECONDS) :]
        return math.ceil(sum(window) / len(window) / _TARGET)


PUBLISHED: dict[str, Callable[[], ScalingRule]] = {
    "Beam": BeamQueueDepth,
    "KEDA accurate": KedaAccurate,
    "Knative": KnativePodAutoscaler,
}
"""By name."""
VARIANTS: dict[str, Callable[[], ScalingRule]] = {
    "KEDA accurate, Jobs that empty the queue": lambda: KedaAccurate(math.inf),
}
"""Not as their projects describe them. A Job that takes one message after the other has to be written so."""
