"""A handler's process asks over a connection of its own; where there is no process to ask, it runs the graph itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.workers.checks.graphs import write_model
from tests.workers.inference.graphs import picture
from workers.inference import client, wire
from workers.inference.address import INFERENCE
from workers.inference.client import RemoteGraph
from workers.inference.errors import InferenceLost, UnusableModelError
from workers.inference.wire import GraphDescription, GraphNode


class AnsweringProcess:
    """A process that answers the first question of each connection, and notes how many there were."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "socket")
        self.connections = 0
        self.refuses = ""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer nothing more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                while (question := wire.read_question(connection.fileno())) is not None:
                    if self.refuses:
                        wire.refuse(connection.fileno(), self.refuses)
                    elif question.tensors is None:
                        node = GraphNode("pixels", "tensor(float)", [1])
                        wire.describe(connection.fileno(), GraphDescription([node], [], "CPUExecutionProvider"))
                    else:
                        wire.answer(connection.fileno(), [question.tensors["pixels"] * 2])


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringProcess]:
    """A process to ask."""
    one = AnsweringProcess(tmp_path)
    monkeypatch.setenv(INFERENCE, one.address)
    yield one
    client.disconnect()
    one.close()


def test_without_a_process_to_ask_the_graph_is_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INFERENCE, raising=False)
    client.connect()  # does nothing
    graph = client.open_graph(write_model(tmp_path) / "model.onnx")
    assert graph.run(["scores"], picture(0.25))[0].tolist() == [[0.25, 0, 0]]


def test_a_process_keeps_its_connection_until_it_lets_it_go(answers: AnsweringProcess) -> None:
    client.connect()
    graph = client.open_graph(Path("/model.onnx"))
    assert [node.name for node in graph.get_inputs()] == ["pixels"]
    assert graph.get_outputs() == []
    assert graph.run([], {"pixels": np.array([[1]], np.float32)})[0].tolist() == [[2]]
    assert answers.connections == 1
    client.disconnect()
    client.open_graph(Path("/model.onnx"))
    assert answers.connections == 2


def test_a_fork_makes_a_connection_of_its_own(answers: AnsweringProcess) -> None:
    graph = client.open_graph(Path("/model.onnx"))
    if (child := os.fork()) == 0:
        os._exit(0 if graph.run([], {"pixels": np.array([[3]], np.float32)})[0].tolist() == [[6]] else 1)
    # The parent's connection would answer the child only once it is closed: the other side serves one after the other.
    client.disconnect()
    assert os.waitpid(child, 0)[1] == 0
    assert answers.connections == 2


def test_what_is_refused_is_an_unusable_model(answers: AnsweringProcess) -> None:
    answers.refuses = "no graph"
    with pytest.raises(UnusableModelError, match="no graph"):
        RemoteGraph(Path("/model.onnx"))


def test_too_large_a_picture_is_an_unusable_model(answers: AnsweringProcess) -> None:
    graph = client.open_graph(Path("/model.onnx"))
    with pytest.raises(UnusableModelError, match="268,435,456"):
        graph.run([], {"pixels": np.broadcast_to(np.float32(0), (1 << 27,))})


def test_a_process_that_is_not_there_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INFERENCE, str(tmp_path / "nothing"))
    with pytest.raises(InferenceLost, match="cannot be reached: No such file"):
        client.connect()
