"""Writes EfficientNet-Lite0 as an ONNX graph from its weights: scores of 1,000 labels, and an embedding.

The structure is that of the published model (Apache-2.0): a stem, sixteen blocks that widen, filter and narrow, a head.
Numbers of a batch normalisation are folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
"""Pixels of the square that it sees."""
_EPSILON = 1e-3
_MEAN, _STD = 127.0, 128.0
"""Of each channel of the pixels, 0 to 255."""
_OPSET, _IR = 17, 8


@dataclass(frozen=True, slots=True)
class _Stage:
    """Blocks of one kind, one after the other."""

    blocks: int
    kernel: int
    stride: int
    """Of the first; the others keep the size."""
    widened: int
    inputs: int
    outputs: int


_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


def graph(weights: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """Return the graph: ``pixels`` in bytes, rows of columns of RGB, to ``scores`` and ``embedding``."""
    return _Writer(weights).model()


class _Writer:
    """Adds nodes one after the other; each method returns the name of what it has made."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        """Write all of it, and check it."""
        head = self._convolution(self._blocks(self._stem()), "_conv_head", "_bn1")
        pooled = self._node("Flatten", [self._node("GlobalAveragePool", [head], "pool")], "pooled")
        weight, bias = (
            self._constant("fc.w", self._weights["_fc.weight"]),
            self._constant("fc.b", self._weights["_fc.bias"]),
        )
        logits = self._node("Gemm", [pooled, weight, bias], "logits", transB=1)
        self._node("Softmax", [logits], "scores", axis=-1)
        self._node("LpNormalization", [pooled], "embedding", axis=-1, p=2)
        return self._checked(labels=len(self._weights["_fc.bias"]), features=self._weights["_fc.weight"].shape[1])

    def _checked(self, *, labels: int, features: int) -> onnx.ModelProto:
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
        outputs = [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", labels]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", features]),
        ]
        made = helper.make_graph(self._nodes, "efficientnet-lite0", [pixels], outputs, self._constants)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="yurt")
        model.ir_version = _IR
        onnx.checker.check_model(model)
        return model

    def _stem(self) -> str:
        """Pixels as numbers around 0, and the first convolution."""
        self._constant("zero", np.array(0))
        self._constant("six", np.array(6))
        rows = self._node("Transpose", ["pixels"], "channels", perm=[0, 3, 1, 2])
        numbers = self._node("Cast", [rows], "numbers", to=TensorProto.FLOAT)
        centred = self._node("Sub", [numbers, self._constant("mean", np.array(_MEAN))], "centred")
        scaled = self._node("Mul", [centred, self._constant("scale", np.array(1 / _STD))], "scaled")
        return self._convolution(scaled, "_conv_stem", "_bn0", stride=2)

    def _blocks(self, before: str) -> str:
        number = 0
        for stage in _STAGES:
            for place in range(stage.blocks):
                before = self._block(f"_blocks.{number}.", before, stage, is_first=place == 0)
                number += 1
        return before

    def _block(self, prefix: str, before: str, stage: _Stage, *, is_first: bool) -> str:
        channels = (stage.inputs if is_first else stage.outputs) * stage.widened
        wide = before
        if stage.widened != 1:
            wide = self._convolution(before, f"{prefix}_expand_conv", f"{prefix}_bn0")
        stride = stage.stride if is_first else 1
        filtered = self._convolution(wide, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride, groups=channels)
        narrow = self._convolution(filtered, f"{prefix}_project_conv", f"{prefix}_bn2", is_clipped=False)
        return narrow if is_first else self._node("Add", [before, narrow], f"{prefix}sum")

    def _convolution(
        self, before: str, name: str, normalisation: str, *, stride: int = 1, groups: int = 1, is_clipped: bool = True
    ) -> str:
        weight, bias = self._folded(name, normalisation)
        kernel = list(self._weights[f"{name}.weight"].shape[2:])
        made = self._node(
            "Conv",
            [before, weight, bias],
            name,
            kernel_shape=kernel,
            strides=[stride, stride],
            group=groups,
            auto_pad="SAME_UPPER",
        )
        return self._node("Clip", [made, "zero", "six"], f"{name}.clipped") if is_clipped else made

    def _folded(self, name: str, normalisation: str) -> tuple[str, str]:
        """Weight and bias of a convolution with the batch normalisation behind it."""
        gamma, beta, mean, variance = (
            self._weights[f"{normalisation}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        weight = self._weights[f"{name}.weight"] * scale[:, np.newaxis, np.newaxis, np.newaxis]
        return self._constant(f"{name}.w", weight), self._constant(f"{name}.b", beta - mean * scale)

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, name: str, numbers: NDArray[Any]) -> str:
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(numbers, np.float32).reshape(numbers.shape), name)
        )
        return name
