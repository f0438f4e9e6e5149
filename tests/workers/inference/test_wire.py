"""Frames arrive as they were sent, and what is none is refused before it costs anything."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from workers.inference import wire
from workers.inference.wire import (
    MAX_HEAD_BYTES,
    MAX_TENSOR_BYTES,
    GraphDescription,
    GraphNode,
    GraphQuestion,
    WrongFrameError,
)

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_question_arrives_as_it_was_asked(ends: Ends) -> None:
    tensors = {"mask": np.ones((1, 3), np.bool_), "pixels": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}
    wire.ask(ends[0].fileno(), GraphQuestion("/models/ü/model.onnx", ("scores",), tensors))
    asked = wire.read_question(ends[1].fileno())
    assert asked
    assert (asked.graph, asked.outputs) == ("/models/ü/model.onnx", ("scores",))
    assert asked.tensors
    for name, tensor in tensors.items():
        assert asked.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(asked.tensors[name], tensor)


def test_without_tensors_a_graph_is_to_be_described(ends: Ends) -> None:
    wire.ask(ends[0].fileno(), GraphQuestion("/models/model.onnx"))
    assert wire.read_question(ends[1].fileno()) == GraphQuestion("/models/model.onnx")


def test_answers_arrive_as_they_were_given(ends: Ends) -> None:
    description = GraphDescription([GraphNode("a", "tensor(float)", ["n", 3, None])], [], "CPUExecutionProvider")
    wire.describe(ends[0].fileno(), description)
    wire.refuse(ends[0].fileno(), "no graph")
    wire.answer(ends[0].fileno(), [np.array([[1, 2]], np.float32), np.array([[3]], np.int64)])
    assert wire.read_answer(ends[1].fileno()) == description
    assert wire.read_answer(ends[1].fileno()) == "no graph"
    made = wire.read_answer(ends[1].fileno())
    assert isinstance(made, list)
    assert [each.tolist() for each in made] == [[[1, 2]], [[3]]]


def test_a_side_that_has_left_is_told_from_one_that_is_silent(ends: Ends) -> None:
    ends[0].sendall(struct.pack(">II", 10, 0) + b"{")
    ends[0].close()
    assert wire.read_question(ends[1].fileno()) is None
    assert wire.read_answer(ends[1].fileno()) is None


def frame(head: object, body: bytes = b"", *, claimed: int | None = None) -> bytes:
    """A frame that need not be a right one."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack(">II", len(text), len(body) if claimed is None else claimed) + text + body


def with_tensor(**changed: object) -> dict[str, object]:
    """The head of a question with one tensor of eight bytes."""
    tensor = {"name": "pixels", "kind": "float32", "shape": [1, 2], **changed}
    return {"graph": "g", "run": True, "outputs": ["scores"], "tensors": [tensor]}


WRONG = {
    "long head": struct.pack(">II", MAX_HEAD_BYTES + 1, 0),
    "long body": struct.pack(">II", 2, MAX_TENSOR_BYTES + 1),
    "no JSON": frame(b"\xff{"),
    "no object": frame([]),
    "no graph": frame({"run": False, "outputs": []}),
    "no outputs": frame({"graph": "g", "run": False}),
    "names that are numbers": frame({"graph": "g", "run": False, "outputs": [1]}),
    "no tensors": frame({"graph": "g", "run": True, "outputs": []}),
    "many tensors": frame({"graph": "g", "run": True, "outputs": [], "tensors": [{}] * 17}),
    "a tensor that is none": frame({"graph": "g", "run": True, "outputs": [], "tensors": [1]}),
    "objects": frame(with_tensor(kind="object"), bytes(8)),
    "a type that is none": frame(with_tensor(kind=["float32"]), bytes(8)),
    "longer than the frame": frame(with_tensor(shape=[1, 3]), bytes(8)),
    "negative": frame(with_tensor(shape=[-1, -2]), bytes(8)),
    "truth as a length": frame(with_tensor(shape=[True, 2]), bytes(8)),
    "huge": frame(with_tensor(shape=[1 << 62, 1 << 62]), bytes(8)),
    "many dimensions": frame(with_tensor(shape=[1] * 9), bytes(8)),
    "a long name": frame(with_tensor(name="a" * 1_001), bytes(8)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_question_is_refused(ends: Ends, wrong: bytes) -> None:
    ends[0].sendall(wrong)
    with pytest.raises(WrongFrameError):
        wire.read_question(ends[1].fileno())


def test_a_right_frame_of_the_same_kind_is_taken(ends: Ends) -> None:
    ends[0].sendall(frame(with_tensor(), bytes(8)))
    assert wire.read_question(ends[1].fileno())


def test_too_much_is_not_even_sent() -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY)  # a write would raise OSError
    much = np.broadcast_to(np.float32(0), (MAX_TENSOR_BYTES // 4 + 1,))
    try:
        with pytest.raises(WrongFrameError, match="268,435,456"):
            wire.ask(nowhere, GraphQuestion("g", (), {"pixels": much}))
        with pytest.raises(WrongFrameError, match="268,435,456"):
            wire.answer(nowhere, [much])
        with pytest.raises(WrongFrameError, match="complex64"):
            wire.answer(nowhere, [np.array([1], np.complex64)])
    finally:
        os.close(nowhere)
