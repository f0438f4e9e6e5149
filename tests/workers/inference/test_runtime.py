"""Sessions that stand a fork: a process that loads a model has one thread, opens nothing, and reports to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.workers.checks.graphs import colour_graph, write_model
from workers.inference import runtime
from workers.inference.errors import UnusableModelError

ROOT = Path(__file__).parents[3]
LOADING = """
import os, sys
from pathlib import Path
def state():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
before = state()
from workers.inference import runtime
session = runtime.open_session(Path(sys.argv[1]))
assert state() == before, (before, state())
import numpy
def red():
    return session.run(None, {"pixels": numpy.ones((1, 3, 8, 8), numpy.float32)})[0].tolist()
if (child := os.fork()) == 0:
    os._exit(0 if red() == [[1, 1, 1]] else 1)
assert os.waitpid(child, 0)[1] == 0
assert "ORT_DISABLE_TELEMETRY" not in os.environ and os.environ["OPENBLAS_NUM_THREADS"] == "2"
print(state() == before, red())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")
def test_a_loaded_model_stands_a_fork_and_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    graph = write_model(tmp_path / "model") / "model.onnx"
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", LOADING, str(graph)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert ran.stdout == "True [[1.0, 1.0, 1.0]]\n", ran.stderr
    assert list(home.rglob("*")) == []


def with_data_at(location: str) -> bytes:
    """A graph one of whose tensors lies in another file."""
    model = colour_graph()
    tensor = TensorProto(name="bias", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    model.graph.node[-1].output[0] = "means"
    model.graph.node.append(helper.make_node("Add", ["means", "bias"], ["scores"]))
    return bytes(model.SerializeToString())


def test_data_beside_the_graph_is_read(tmp_path: Path) -> None:
    graph = write_model(tmp_path / "model", with_data_at("bias.bin")) / "model.onnx"
    (tmp_path / "model" / "bias.bin").write_bytes(bytes(12))
    assert runtime.open_session(graph).get_outputs()[0].name == "scores"


@pytest.mark.parametrize("location", ["../secret.bin", "{outside}/secret.bin"])
def test_data_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    graph = write_model(tmp_path / "model", with_data_at(location.format(outside=tmp_path))) / "model.onnx"
    with pytest.raises(UnusableModelError, match="cannot be loaded"):
        runtime.open_session(graph)


def test_data_that_are_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    graph = write_model(tmp_path / "model", with_data_at("bias.bin")) / "model.onnx"
    (tmp_path / "model" / "bias.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(UnusableModelError, match="cannot be loaded"):
        runtime.open_session(graph)


def unknown_operation() -> bytes:
    model = colour_graph()
    model.graph.node[0].op_type = "Teleport"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", os.urandom(1000), onnx.ModelProto().SerializeToString(), unknown_operation()],
    ids=["empty", "no-onnx", "noise", "no-graph", "unknown-operation"],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    graph = write_model(tmp_path / "model", content) / "model.onnx"
    with pytest.raises(UnusableModelError, match=r"model.onnx cannot be loaded: .* Is the file whole"):
        runtime.open_session(graph)


def test_a_graph_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = colour_graph().SerializeToString()
    graph = write_model(tmp_path / "model", whole[: len(whole) // 2]) / "model.onnx"
    with pytest.raises(UnusableModelError, match="cannot be loaded"):
        runtime.open_session(graph)


def test_a_card_that_cannot_be_used_costs_nothing_but_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not runtime.has_card()  # a card without the package for cards, or neither
    graph = write_model(tmp_path) / "model.onnx"
    monkeypatch.setattr(runtime, "has_card", lambda: True)
    assert runtime.open_session(graph).get_providers() == ["CPUExecutionProvider"]
