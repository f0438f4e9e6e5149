"""What a graph is given, by its inputs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pyvips

from tests.workers.checks.graphs import PREPROCESSING, SIDE, colour_graph, detector_graph, write_model
from workers.checks import graph_inputs
from workers.checks.graph_inputs import GraphInputs
from workers.checks.preprocessing import Preprocessing
from workers.inference import runtime


def found(folder: Path, graph: onnx.ModelProto) -> GraphInputs:
    opened = runtime.open_session(write_model(folder, graph) / "model.onnx")
    return graph_inputs.find(opened.get_inputs())


def test_sides_and_channels(tmp_path: Path) -> None:
    assert found(tmp_path, colour_graph(shape=(1, 3, 9, "w"))) == GraphInputs("pixels", "float32", False, 9, None)
    assert found(tmp_path, colour_graph(shape=("n", 9, 7, 3))) == GraphInputs("pixels", "float32", True, 9, 7)


def test_a_mask_of_all_pixels(tmp_path: Path) -> None:
    inputs = found(tmp_path, detector_graph())
    picture = pyvips.Image.black(20, 20, bands=3).copy(interpretation="srgb")
    tensors = inputs.tensors(Preprocessing.model_validate(PREPROCESSING), picture)
    assert {name: (tensor.shape, str(tensor.dtype), tensor.min()) for name, tensor in tensors.items()} == {
        "pixels": ((1, 3, SIDE, SIDE), "float32", 0),
        "pixel_mask": ((1, SIDE, SIDE), "int64", 1),
    }
