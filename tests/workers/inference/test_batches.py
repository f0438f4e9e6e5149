"""What waits for the same graph is run together, and nobody's fault or absence is another's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.polling import wait_until
from tests.workers.checks.graphs import colour_graph, detector_graph, write_model
from tests.workers.inference.graphs import endless_graph, one_at_a_time_graph, picture
from workers.inference import runtime
from workers.inference.batches import MOST_TOGETHER, Batches, ClientLeftError, GraphRun, RunningGraphs


class CountingSession:
    """A session that counts its runs, and waits before each until it may go on."""

    def __init__(self, folder: Path, graph: onnx.ModelProto) -> None:
        self._session = runtime.open_session(write_model(folder, graph) / "model.onnx")
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs
        self.sizes: list[int] = []
        """Pictures of each run."""
        self.goes_on = threading.Event()
        self.goes_on.set()

    def run(self, names: list[str], tensors: dict[str, Any], options: Any) -> Any:
        self.sizes.append(len(tensors["pixels"]))
        assert self.goes_on.wait(30)
        return self._session.run(names, tensors, options)


class GraphAsked:
    """Processes that ask one graph, of which one run is going on at a time."""

    def __init__(self, folder: Path, graph: onnx.ModelProto | None = None) -> None:
        self.session = CountingSession(folder, graph or colour_graph())
        self.running = RunningGraphs()
        self.places = threading.Semaphore(1)
        self.batches = Batches(self.session, self.places, self.running)
        self._threads = ThreadPoolExecutor(32)

    def ask(self, red: float, has_left: Callable[[], bool] = lambda: False, **tensors: Any) -> Future[float]:
        """Ask in a thread of its own."""
        run = GraphRun(("scores",), picture(red) | tensors, has_left)
        return self._threads.submit(lambda: float(self.batches.made(run)[0][0, 0]))

    def hold(self) -> Future[float]:
        """Ask, and have the graph run until it may go on."""
        self.session.goes_on.clear()
        first = self.ask(0.5)
        wait_until(lambda: self.session.sizes == [1])
        return first

    def all_wait(self, number: int) -> None:
        """Wait until so many wait for their turn."""
        wait_until(lambda: self.batches.waiting == number)

    def go_on(self) -> None:
        """Let the graph run."""
        self.session.goes_on.set()


def test_what_waits_is_run_together_and_each_gets_its_own(tmp_path: Path) -> None:
    asked = GraphAsked(tmp_path)
    first = asked.hold()
    others = [asked.ask(red / 16) for red in range(MOST_TOGETHER + 2)]
    asked.all_wait(MOST_TOGETHER + 2)
    asked.go_on()
    assert first.result(30) == 0.5
    assert [other.result(30) for other in others] == [red / 16 for red in range(MOST_TOGETHER + 2)]
    assert asked.session.sizes == [1, MOST_TOGETHER, 2]


@pytest.mark.parametrize("other", [{"pixels": np.zeros((1, 3, 8, 8), np.float64)}, {"more": np.zeros((1,))}])
def test_what_does_not_fit_is_run_alone_and_blames_no_other(tmp_path: Path, other: dict[str, Any]) -> None:
    asked = GraphAsked(tmp_path)
    first = asked.hold()
    wrong, right = asked.ask(1, **other), asked.ask(0.25)
    asked.all_wait(2)
    asked.go_on()
    assert (first.result(30), right.result(30)) == (0.5, 0.25)
    assert wrong.exception(30) is not None
    assert asked.session.sizes == [1, 1, 1]


def test_a_graph_that_takes_one_picture_after_all_gets_one(tmp_path: Path) -> None:
    asked = GraphAsked(tmp_path, one_at_a_time_graph())
    asked.hold()
    others = [asked.ask(red / 4) for red in range(3)]
    asked.all_wait(3)
    asked.go_on()
    assert [other.result(30) for other in others] == [0, 0.25, 0.5]
    assert asked.session.sizes == [1, 3, 1, 1, 1]
    assert not asked.batches.joins


def test_a_graph_with_a_fixed_number_is_never_given_several(tmp_path: Path) -> None:
    assert not GraphAsked(tmp_path / "detector", detector_graph()).batches.joins
    assert not GraphAsked(tmp_path / "one", colour_graph(shape=(1, 3, 8, 8))).batches.joins
    assert GraphAsked(tmp_path / "any").batches.joins


def test_who_has_left_while_waiting_is_not_run(tmp_path: Path) -> None:
    asked = GraphAsked(tmp_path)
    asked.hold()
    gone, here = asked.ask(1, lambda: True), asked.ask(0.25)
    asked.all_wait(2)
    asked.go_on()
    assert isinstance(gone.exception(30), ClientLeftError)
    assert here.result(30) == 0.25
    assert asked.session.sizes == [1, 1]


def test_a_run_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    asked = GraphAsked(tmp_path, endless_graph())
    left = threading.Event()
    endless = asked.ask(1, left.is_set)
    wait_until(lambda: asked.session.sizes == [1])
    assert asked.running.end_forsaken() == 0
    assert not endless.done()
    left.set()
    asked.running.end_forsaken()
    assert "terminate" in str(endless.exception(30))
    assert asked.running.end_forsaken() == 0


def test_a_run_that_does_not_obey_is_told_of(tmp_path: Path) -> None:
    asked = GraphAsked(tmp_path)
    asked.session.goes_on.clear()
    left = threading.Event()
    stuck = asked.ask(1, left.is_set)
    wait_until(lambda: asked.session.sizes == [1])
    left.set()
    assert asked.running.end_forsaken() >= 0
    wait_until(lambda: asked.running.end_forsaken() > 0)
    asked.go_on()
    assert stuck.exception(30) is not None  # it was told to end
    assert asked.running.end_forsaken() == 0
