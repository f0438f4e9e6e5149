"""The server answers what it is asked about graphs below its folder, and survives what it is not to be asked."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.workers.checks.graphs import colour_graph, write_model
from tests.workers.inference.graphs import endless_graph, picture, wide_numbers_graph
from workers.inference import server, wire
from workers.inference.server import InferenceServer
from workers.inference.wire import GraphDescription, GraphQuestion


class Served:
    """A server in a thread, as an agent sees it."""

    def __init__(self, models: Path) -> None:
        self.gave_up = threading.Event()
        self.control, self._theirs = socket.socketpair()
        serving = InferenceServer(models, 2, loaded=self.note, give_up=self.gave_up.set)
        self.loaded: list[str] = []
        self._thread = threading.Thread(target=serving.serve, args=(self._theirs,))
        self._thread.start()

    def note(self, graph: str, runs_on: str, _seconds: float) -> None:
        """Note a graph that was loaded."""
        self.loaded.append(f"{Path(graph).parent.name} {runs_on}")

    def close(self) -> None:
        """End it as an agent that ends does."""
        self.control.close()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._theirs.close()

    @contextmanager
    def connection(self) -> Iterator[int]:
        """A connection of a handler's process."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [b"c"], [theirs.fileno()])
        with ours:
            yield ours.fileno()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server of the models below the test's folder."""
    one = Served(tmp_path)
    try:
        yield one
    finally:
        one.close()


def asked(connection: int, graph: Path | str, red: float | None = None) -> object:
    """The answer."""
    wire.ask(connection, GraphQuestion(str(graph), ("scores",), None if red is None else picture(red)))
    return wire.read_answer(connection)


def test_a_graph_is_described_and_run(served: Served, tmp_path: Path) -> None:
    graph = write_model(tmp_path / "colours") / "model.onnx"
    with served.connection() as connection:
        found = asked(connection, graph)
        assert isinstance(found, GraphDescription)
        assert [(node.name, node.type, node.shape) for node in found.inputs] == [
            ("pixels", "tensor(float)", ["n", 3, 8, 8])
        ]
        assert [node.name for node in found.outputs] == ["scores"]
        assert found.runs_on == "CPUExecutionProvider"
        made = asked(connection, graph, 0.25)
    assert isinstance(made, list)
    assert made[0].tolist() == [[0.25, 0, 0]]


def test_processes_get_their_own_answers(served: Served, tmp_path: Path) -> None:
    graph = write_model(tmp_path / "colours") / "model.onnx"
    with served.connection() as first, served.connection() as second:
        for connection, red in ((first, 0.25), (second, 0.75)):
            wire.ask(connection, GraphQuestion(str(graph), ("scores",), picture(red)))
        found = [wire.read_answer(connection) for connection in (second, first)]
    assert [made[0][0, 0] for made in found if isinstance(made, list)] == [0.75, 0.25]


def test_why_a_graph_cannot_be_used_is_said(served: Served, tmp_path: Path) -> None:
    broken = write_model(tmp_path / "broken", b"no graph") / "model.onnx"
    right = write_model(tmp_path / "right") / "model.onnx"
    with served.connection() as connection:
        assert "model.onnx cannot be loaded" in str(asked(connection, broken))
        assert "cannot be loaded" in str(asked(connection, tmp_path / "missing.onnx"))
        wire.ask(connection, GraphQuestion(str(right), ("nothing",), picture(1)))
        assert "the graph does not run" in str(wire.read_answer(connection))
        assert isinstance(asked(connection, right, 1), list)  # it goes on


def test_what_a_graph_makes_and_no_frame_holds_is_the_graphs_fault(served: Served, tmp_path: Path) -> None:
    graph = write_model(tmp_path / "wide", wide_numbers_graph()) / "model.onnx"
    with served.connection() as connection:
        assert "holds uint64" in str(asked(connection, graph, 1))
        assert isinstance(asked(connection, graph), GraphDescription)  # it goes on


@pytest.mark.parametrize("name", ["{outside}/model.onnx", "{inside}/../elsewhere/model.onnx", "{inside}/link.onnx"])
def test_graphs_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    inside, outside = tmp_path / "models", write_model(tmp_path / "elsewhere")
    inside.mkdir()
    (inside / "link.onnx").symlink_to(outside / "model.onnx")
    served = Served(inside)
    try:
        with served.connection() as connection:
            refused = asked(connection, name.format(inside=inside, outside=outside))
    finally:
        served.close()
    assert "not below the folder of the models" in str(refused)


def test_what_is_no_question_ends_its_connection_alone(served: Served, tmp_path: Path) -> None:
    graph = write_model(tmp_path / "colours") / "model.onnx"
    with served.connection() as other:
        with served.connection() as connection:
            os.write(connection, b"\xff" * 8)
            assert wire.read_answer(connection) is None
        assert isinstance(asked(other, graph, 1), list)


def test_old_versions_are_let_go(tmp_path: Path, served: Served) -> None:
    graphs = [write_model(tmp_path / str(n)) / "model.onnx" for n in range(9)]
    with served.connection() as connection:
        for n in (*range(8), 0, 8, 0, 1):
            asked(connection, graphs[n])
    assert served.loaded == [f"{n} CPUExecutionProvider" for n in "0123456781"]


def test_a_run_of_a_process_that_has_ended_ends_too(served: Served, tmp_path: Path) -> None:
    graph = write_model(tmp_path / "endless", endless_graph()) / "model.onnx"
    colours = write_model(tmp_path / "colours") / "model.onnx"
    for _ in range(3):  # one more than there are runs at once
        with served.connection() as connection:
            wire.ask(connection, GraphQuestion(str(graph), ("scores",), picture(1)))
    with served.connection() as connection:
        assert isinstance(asked(connection, colours, 1), list)
    assert not served.gave_up.is_set()


def test_a_process_is_given_up_where_a_run_does_not_end(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OBEY_SECONDS", 0.0)
    wait_until(served.gave_up.is_set)


def test_more_connections_than_there_may_be_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    graph = write_model(tmp_path / "colours", colour_graph()) / "model.onnx"
    served = Served(tmp_path)
    try:
        with served.connection() as first:
            assert isinstance(asked(first, graph, 1), list)
            with served.connection() as second:
                assert wire.read_answer(second) is None
        wait_until(lambda: _answers(served, graph))  # once the first is free again
    finally:
        served.close()


def _answers(served: Served, graph: Path) -> bool:
    with served.connection() as connection:
        try:
            return isinstance(asked(connection, graph, 1), list)
        except OSError:
            return False
