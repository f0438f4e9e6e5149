"""Answers the questions of handlers' processes about graphs, each connection in a thread of its own."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.inference import runtime, wire
from workers.inference.batches import Batches, ClientLeftError, GraphRun, RunningGraphs
from workers.inference.errors import UnusableModelError
from workers.inference.wire import GraphDescription, GraphNode, GraphQuestion, WrongFrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

_MOST_LOADED = 8
"""Graphs that are kept. Of a name that gets new versions the oldest are let go."""
MOST_CONNECTIONS = 256
_LOOK_SECONDS = 0.5
OBEY_SECONDS = 10.0
"""A run that is told to end does so between two nodes of its graph. One that does not is ended with the process."""
_LEFT = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True, slots=True)
class _Loaded:
    description: GraphDescription
    batches: Batches


class InferenceServer:
    """The graphs below one folder.

    Args:
        models: Their folder. A path says which version it is: its files never change.
        runs: How many runs there may be at once on the processor. On a graphics card there is one.
        loaded: Called with the path of each graph that was loaded, with what it runs on, and the seconds that it took.
        give_up: Called where a run does not end that nobody waits for: it has to end the process.

    """

    def __init__(
        self, models: Path, runs: int, *, loaded: Callable[[str, str, float], object], give_up: Callable[[], object]
    ) -> None:
        self._models = models.resolve()
        self._places = threading.Semaphore(runs)
        self._place_on_card = threading.Semaphore(1)
        self._running = RunningGraphs()
        self._tell_loaded = loaded
        self._give_up = give_up
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def serve(self, control: socket.socket) -> None:
        """Take connections until the agent closes its end of ``control``, by which it hands them over."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        while True:
            mark, connections, _, _ = socket.recv_fds(control, 1, 1)
            if not mark:
                return
            for connection in connections:
                if self._connections.acquire(blocking=False):
                    threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()
                else:
                    os.close(connection)

    def _serve_one(self, connection: int) -> None:
        try:
            while (question := wire.read_question(connection)) is not None:
                self._answer(connection, question)
        except (WrongFrameError, ClientLeftError, OSError):
            pass  # what a stranger's photo has made of its process is told nothing
        finally:
            os.close(connection)
            self._connections.release()

    def _answer(self, connection: int, question: GraphQuestion) -> None:
        try:
            loaded = self._load(question.graph)
            if question.tensors is None:
                wire.describe(connection, loaded.description)
                return
            run = GraphRun(question.outputs, question.tensors, partial(_has_left, connection))
            made = loaded.batches.made(run)
        except (ClientLeftError, OSError):
            raise
        except UnusableModelError as error:
            wire.refuse(connection, str(error))
        except Exception as error:  # onnxruntime's own types have no common base
            wire.refuse(connection, f"the graph does not run: {' '.join(str(error).split())[:300]}")
        else:
            self._give(connection, made)

    @staticmethod
    def _give(connection: int, made: Sequence[NDArray[Any]]) -> None:
        try:
            wire.answer(connection, made)
        except WrongFrameError as error:  # the model's fault, not the photo's
            wire.refuse(connection, str(error))

    def _load(self, graph: str) -> _Loaded:
        # One at a time: processes that start together need the same, and the second finds it loaded.
        with self._lock:
            if graph not in self._loaded:
                if not Path(graph).resolve().is_relative_to(self._models):
                    raise UnusableModelError(f"{graph} is not below the folder of the models")
                begun = time.monotonic()
                self._loaded[graph] = self._described(runtime.open_session(Path(graph)))
                runs_on = self._loaded[graph].description.runs_on
                self._tell_loaded(graph, runs_on, time.monotonic() - begun)
            self._loaded.move_to_end(graph)
            while len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[graph]

    def _described(self, graph: InferenceSession) -> _Loaded:
        nodes = [
            [GraphNode(node.name, node.type, list(node.shape)) for node in found]
            for found in (graph.get_inputs(), graph.get_outputs())
        ]
        runs_on = graph.get_providers()[0]
        places = self._place_on_card if runs_on == runtime.ON_CARDS else self._places
        return _Loaded(GraphDescription(nodes[0], nodes[1], runs_on), Batches(graph, places, self._running))

    def _watch(self) -> None:
        while self._running.end_forsaken() < OBEY_SECONDS:
            time.sleep(_LOOK_SECONDS)
        self._give_up()


def _has_left(connection: int) -> bool:
    """Whether the other side has closed its end: its process has ended."""
    poll = select.poll()
    poll.register(connection, _LEFT)
    return bool(poll.poll(0))
