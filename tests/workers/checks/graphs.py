"""Small models for tests: a graph of two nodes that tells how red, green and blue a picture is on average."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

SIDE = 8
LABELS = ("NSFW", "NSFL", "SFW")
"""Red is NSFW, green NSFL and blue SFW: as much as there is of it, 0 to 1."""
CONFIG: Mapping[str, Any] = {"id2label": {str(n): label for n, label in enumerate(LABELS)}, "function_to_apply": "none"}
PREPROCESSING: Mapping[str, Any] = {"size": {"height": SIDE, "width": SIDE}, "do_normalize": False}


def colour_graph(
    *,
    shape: tuple[int | str, ...] = ("n", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    inputs: int = 1,
    outputs: int = 1,
    labels: int | str = 3,
) -> onnx.ModelProto:
    """Return the graph, with a picture of this shape and type, and an embedding where there are two outputs."""
    channels_last = shape[1] != 3
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2] if channels_last else [0, 1, 2, 3]),
        helper.make_node("Cast", ["turned"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["scores"], axes=[2, 3], keepdims=0),
        helper.make_node("Identity", ["scores"], ["embedding"]),
    ]
    names = ["pixels", "mask"][:inputs]
    made = helper.make_graph(
        nodes[: 2 + outputs],
        "colours",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in names],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", labels])
            for name in ("scores", "embedding")[:outputs]
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def detector_graph() -> onnx.ModelProto:
    """Return a graph that looks at the left half and at the right one, and wants a mask of all pixels too."""
    boxes = [0.25, 0.5, 0.5, 1, 0.75, 0.5, 0.5, 1]
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["halves"], kernel_shape=[SIDE, SIDE // 2], strides=[1, SIDE // 2]),
        helper.make_node("Squeeze", ["halves", "rows"], ["of labels"]),
        helper.make_node("Transpose", ["of labels"], ["unmasked"], perm=[0, 2, 1]),
        helper.make_node("Cast", ["pixel_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["mask"], ["least"], keepdims=0),
        helper.make_node("Mul", ["unmasked", "least"], ["logits"]),
        helper.make_node("Identity", ["boxes"], ["pred_boxes"]),
    ]
    made = helper.make_graph(
        nodes,
        "halves",
        [
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]),
            helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, ["n", SIDE, SIDE]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, 3]),
            helper.make_tensor_value_info("pred_boxes", TensorProto.FLOAT, [1, 2, 4]),
        ],
        [
            helper.make_tensor("rows", TensorProto.INT64, [1], [2]),
            helper.make_tensor("boxes", TensorProto.FLOAT, [1, 2, 4], boxes),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_model(
    folder: Path,
    graph: onnx.ModelProto | bytes | None = None,
    config: Mapping[str, Any] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model's folder, as the colours' where nothing else is given, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = graph if isinstance(graph, bytes) else (graph or colour_graph()).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(PREPROCESSING if preprocessing is None else preprocessing)
    )
    return folder
