"""Weights in 16 bits: half the bytes, nearly the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from infra.models.half import store_in_half
from workers.inference import runtime


def layer(rows: int) -> onnx.ModelProto:
    weights = np.random.default_rng(1).normal(size=(rows, 40)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.ones(rows, np.float32), "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_large_tensors_take_half_and_give_nearly_the_same(tmp_path: Path) -> None:
    given = {"x": np.random.default_rng(2).normal(size=(1, 40)).astype(np.float32)}
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    onnx.save(layer(200), whole)
    onnx.save(store_in_half(layer(200)), half)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    exact, near = (runtime.open_session(path).run(None, given)[0] for path in (whole, half))
    assert np.allclose(exact, near, atol=0.01)
    assert not np.array_equal(exact, near)


def test_small_tensors_stay_as_they_are() -> None:
    assert store_in_half(layer(2)) == layer(2)
