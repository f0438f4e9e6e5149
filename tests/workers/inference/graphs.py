"""Graphs that behave badly, and pictures for the graph of colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.workers.checks.graphs import SIDE, colour_graph


def picture(red: float) -> dict[str, NDArray[Any]]:
    """What the graph of colours is given for a red picture; its first score is ``red``."""
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
    pixels[:, 0] = red
    return {"pixels": pixels}


def endless_graph() -> onnx.ModelProto:
    """Return a graph of the colours' inputs and outputs that counts to 2⁶²."""
    floats, whole, truth = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("Identity", ["value"], ["next_value"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", whole, []),
            helper.make_tensor_value_info("goes_on", truth, []),
            helper.make_tensor_value_info("value", floats, ["n", 3]),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", truth, []),
            helper.make_tensor_value_info("next_value", floats, ["n", 3]),
        ],
    )
    made = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("Loop", ["rounds", "always", "means"], ["scores"], body=body),
        ],
        "endless",
        [helper.make_tensor_value_info("pixels", floats, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", floats, ["n", 3])],
        [helper.make_tensor("rounds", whole, [], [1 << 62]), helper.make_tensor("always", truth, [], [True])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def one_at_a_time_graph() -> onnx.ModelProto:
    """Return a graph of colours that says that it takes any number of pictures, and takes one."""
    made = helper.make_graph(
        [
            helper.make_node("Squeeze", ["pixels", "first"], ["only"]),
            helper.make_node("ReduceMean", ["only"], ["means"], axes=[1, 2], keepdims=0),
            helper.make_node("Unsqueeze", ["means", "first"], ["of one"]),
            helper.make_node("Compress", ["of one", "all"], ["scores"], axis=0),  # of a size that is not known ahead
        ],
        "one",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
            helper.make_tensor("all", TensorProto.BOOL, [1], [True]),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def wide_numbers_graph() -> onnx.ModelProto:
    """Return a graph of colours whose scores are of a type that no frame holds."""
    model = colour_graph()
    model.graph.node[-1].output[0] = "means"
    model.graph.node.append(helper.make_node("Cast", ["means"], ["scores"], to=TensorProto.UINT64))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT64
    return model
