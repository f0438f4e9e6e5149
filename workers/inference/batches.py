"""Runs a graph for several processes: at most so many runs at once, and what waits for the same one in one run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, RunOptions

MOST_TOGETHER = 8
"""Pictures in one run: more would wait longer for each other than a card gains by them."""


class ClientLeftError(Exception):
    """The process that asked has ended before its turn came, or while its graph ran."""


@dataclass(eq=False, slots=True)
class GraphRun:
    """One process's question."""

    outputs: tuple[str, ...]
    tensors: Mapping[str, NDArray[Any]]
    has_left: Callable[[], bool]
    """Whether the process that asked has ended."""
    made: Sequence[NDArray[Any]] = ()
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def fits(self, other: GraphRun) -> bool:
        """Whether both can be one run: the same outputs of one picture each, prepared to the same size."""
        shapes = _shapes(self.tensors)
        return shapes is not None and self.outputs == other.outputs and shapes == _shapes(other.tensors)

    def end(self, made: Sequence[NDArray[Any]] = (), error: Exception | None = None) -> None:
        """Give the process its answer."""
        self.made, self.error = made, error
        self.done.set()


class RunningGraphs:
    """Which runs are going on. A watch ends those that nobody waits for any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going_on: dict[int, tuple[Sequence[GraphRun], RunOptions, float | None]] = {}

    @contextmanager
    def noted(self, runs: Sequence[GraphRun], options: RunOptions) -> Iterator[None]:
        """Note these for as long as the block runs."""
        with self._lock:
            self._going_on[id(options)] = (runs, options, None)
        try:
            yield
        finally:
            with self._lock:
                del self._going_on[id(options)]

    def end_forsaken(self) -> float:
        """Have runs end of which all processes have ended. Returns for how many seconds the first has not obeyed."""
        longest = 0.0
        with self._lock:
            for name, (runs, options, since) in list(self._going_on.items()):
                if not all(run.has_left() for run in runs):
                    continue
                options.terminate = True  # looked at between two nodes of the graph
                told_at = time.monotonic() if since is None else since
                self._going_on[name] = (runs, options, told_at)
                longest = max(longest, time.monotonic() - told_at)
        return longest


class Batches:
    """The runs of one graph.

    Args:
        session: The graph.
        places: One for each run that there may be at once, of all graphs together.
        running: Where runs are noted.

    """

    def __init__(self, session: InferenceSession, places: threading.Semaphore, running: RunningGraphs) -> None:
        self._session = session
        self._places = places
        self._running = running
        self._lock = threading.Lock()
        self._waiting: list[GraphRun] = []
        nodes = (*session.get_inputs(), *session.get_outputs())
        self.joins = all(node.shape and not isinstance(node.shape[0], int) for node in nodes)
        """Whether the graph takes any number of pictures, by what it says of itself."""

    @property
    def waiting(self) -> int:
        """Number of those that wait for their turn."""
        return len(self._waiting)

    def made(self, run: GraphRun) -> Sequence[NDArray[Any]]:
        """Wait for a place and run the graph. Raises what onnxruntime does, and ClientLeftError."""
        with self._lock:
            self._waiting.append(run)
        with self._places:
            if together := self._take(run):  # else another one has taken it along
                self._run(together)
        run.done.wait()
        if run.error:
            raise run.error
        return run.made

    def _take(self, run: GraphRun) -> list[GraphRun]:
        with self._lock:
            if run not in self._waiting:
                return []
            others = [each for each in self._waiting if each is not run and self.joins and run.fits(each)]
            together = [run, *others[: MOST_TOGETHER - 1]]
            self._waiting = [each for each in self._waiting if each not in together]
        return together

    def _run(self, together: Sequence[GraphRun]) -> None:
        here = [run for run in together if not run.has_left()]
        for run in together:
            if run not in here:
                run.end(error=ClientLeftError())
        if not here:
            return
        try:
            self._answer(here)
        except Exception as error:  # onnxruntime's own types have no common base
            if len(here) == 1:
                here[0].end(error=error)
                return
            self.joins = False  # many graphs say that they take any number of pictures, and do not
            for run in here:
                self._run([run])

    def _answer(self, runs: Sequence[GraphRun]) -> None:
        """Run the graph once for all of them. Ends all, or none."""
        import numpy as np
        import onnxruntime

        options = onnxruntime.RunOptions()
        tensors = runs[0].tensors
        if len(runs) > 1:
            tensors = {name: np.concatenate([run.tensors[name] for run in runs]) for name in tensors}
        with self._running.noted(runs, options):
            made = self._session.run(list(runs[0].outputs), tensors, options)
        if len(runs) == 1:
            runs[0].end(made)
            return
        if any(len(output) != len(runs) for output in made):
            raise ValueError("the graph gives another number of results than it was given pictures")
        for place, run in enumerate(runs):
            run.end([output[place : place + 1] for output in made])


def _shapes(tensors: Mapping[str, NDArray[Any]]) -> list[tuple[str, str, tuple[int, ...]]] | None:
    """Names, types and shapes of one picture's tensors; None where they are not of one."""
    if any(tensor.ndim == 0 or len(tensor) != 1 for tensor in tensors.values()):
        return None
    return [(name, tensor.dtype.name, tensor.shape) for name, tensor in sorted(tensors.items())]
