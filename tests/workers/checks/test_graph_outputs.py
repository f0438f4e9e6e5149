"""Which of a graph's outputs is which."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.workers.checks.graphs import detector_graph, write_model
from workers.checks import graph_outputs
from workers.checks.graph_outputs import GraphOutputs
from workers.inference import runtime
from workers.inference.errors import UnusableModelError


def graph(**outputs: int) -> onnx.ModelProto:
    """A graph with an output of so many numbers for each name."""
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in outputs.items()]
    shared = [helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=1)]
    shared.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes = [helper.make_node("Concat", ["flat"] * size, [name], axis=1) for name, size in outputs.items()]
    whole = helper.make_graph([*shared, *nodes], "outputs", [given], made)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def found(folder: Path, model: onnx.ModelProto) -> GraphOutputs:
    opened = runtime.open_session(write_model(folder, model) / "model.onnx")
    return graph_outputs.find(opened.get_outputs(), 3)


@pytest.mark.parametrize(
    ("outputs", "scores", "embedding"),
    [
        ({"a": 3}, "a", None),
        ({"features": 7, "a": 3}, "a", "features"),
        ({"a": 3, "logits": 3}, "logits", "a"),
        ({"logits": 3, "one": 7, "image_embeds": 5}, "logits", "image_embeds"),
        ({"logits": 3, "one": 7, "two": 5}, "logits", None),
    ],
)
def test_scores_and_embedding(tmp_path: Path, outputs: dict[str, int], scores: str, embedding: str | None) -> None:
    assert found(tmp_path, graph(**outputs)) == GraphOutputs(scores, None, embedding)


def test_a_detector(tmp_path: Path) -> None:
    outputs = found(tmp_path, detector_graph())
    assert outputs == GraphOutputs("logits", "pred_boxes", None)
    assert outputs.names == ["logits", "pred_boxes"]


def test_none_of_the_outputs_fits(tmp_path: Path) -> None:
    with pytest.raises(UnusableModelError, match=r"each of the 3 labels in config.json \(a \['n', 4\]\)"):
        found(tmp_path, graph(a=4))
