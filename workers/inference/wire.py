"""Frames between the process that runs models and those that ask it: JSON, then tensors as they lie in memory.

A question names a graph; with tensors it is run, without any it is described. Either side may be hostile to the other:
what is asked comes from a process that has read a stranger's photo.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_HEAD_BYTES = 1 << 18
MAX_TENSOR_BYTES = 256 << 20
"""Of all tensors of a frame: a picture of 4,096 × 4,096 in float has 201 MB."""
_MAX_TENSORS, _MAX_DIMENSIONS, _MAX_NAME = 16, 8, 1_000
_KINDS = frozenset({"float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"})
"""Types of numbers, as numpy calls them."""
_LENGTHS = struct.Struct(">II")


class WrongFrameError(Exception):
    """The other side sent what is no frame, or one beyond the limits."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """An input or an output of a graph, as onnxruntime describes it."""

    name: str
    type: str
    """``tensor(float)``, for instance."""
    shape: list[int | str | None]
    """A name, or None, stands for any number."""


@dataclass(frozen=True, slots=True)
class GraphQuestion:
    """What a process asks. ``graph`` is the path of an ONNX file; without ``tensors`` it is described."""

    graph: str
    outputs: tuple[str, ...] = ()
    tensors: Mapping[str, NDArray[Any]] | None = None


@dataclass(frozen=True, slots=True)
class GraphDescription:
    """A graph that is loaded."""

    inputs: list[GraphNode]
    outputs: list[GraphNode]
    runs_on: str
    """The execution provider that onnxruntime has chosen: ``CPUExecutionProvider``, for instance."""


def ask(connection: int, question: GraphQuestion) -> None:
    """Send a question. Raises OSError, and WrongFrameError for tensors that are too much."""
    tensors = question.tensors or {}
    if sum(tensor.nbytes for tensor in tensors.values()) > MAX_TENSOR_BYTES:
        raise WrongFrameError(f"a picture is prepared to more than {MAX_TENSOR_BYTES:,} bytes")
    head = {
        "graph": question.graph,
        "run": question.tensors is not None,
        "outputs": list(question.outputs),
        "tensors": [_described(name, tensor) for name, tensor in tensors.items()],
    }
    _send(connection, head, list(tensors.values()))


def read_question(connection: int) -> GraphQuestion | None:
    """Wait for a question; None where the other side has left. Raises WrongFrameError and OSError."""
    if (frame := _receive(connection)) is None:
        return None
    head, body = frame
    graph, run = head.get("graph"), head.get("run")
    if not isinstance(graph, str) or not isinstance(run, bool):
        raise WrongFrameError("a question without a graph")
    return GraphQuestion(graph, tuple(_names(head.get("outputs"))), _tensors(head, body) if run else None)


def describe(connection: int, description: GraphDescription) -> None:
    """Answer a question without tensors. Raises OSError."""
    _send(connection, {"description": asdict(description), "tensors": []}, [])


def answer(connection: int, made: Sequence[NDArray[Any]]) -> None:
    """Answer with what a graph has made, in the order of the names.

    Raises OSError, and WrongFrameError for more than may be.
    """
    if sum(tensor.nbytes for tensor in made) > MAX_TENSOR_BYTES:
        raise WrongFrameError(f"the graph makes more than {MAX_TENSOR_BYTES:,} bytes")
    _send(connection, {"tensors": [_described(str(place), tensor) for place, tensor in enumerate(made)]}, made)


def refuse(connection: int, why: str) -> None:
    """Answer that the graph cannot be used. Raises OSError."""
    _send(connection, {"unusable": why, "tensors": []}, [])


def read_answer(connection: int) -> GraphDescription | list[NDArray[Any]] | str | None:
    """Wait for the answer; a text says why the graph cannot be used, None that the other side has left.

    Raises WrongFrameError and OSError.
    """
    if (frame := _receive(connection)) is None:
        return None
    head, body = frame
    if "unusable" in head:
        return str(head["unusable"])
    if "description" in head:
        found = head["description"]
        nodes = {name: [GraphNode(**node) for node in found[name]] for name in ("inputs", "outputs")}
        return GraphDescription(nodes["inputs"], nodes["outputs"], found["runs_on"])
    return list(_tensors(head, body).values())


def _described(name: str, tensor: NDArray[Any]) -> dict[str, object]:
    if tensor.dtype.name not in _KINDS:
        raise WrongFrameError(f"{name} holds {tensor.dtype.name}: numbers are {', '.join(sorted(_KINDS))}")
    return {"name": name, "kind": tensor.dtype.name, "shape": list(tensor.shape)}


def _tensors(head: Mapping[str, Any], body: memoryview) -> dict[str, NDArray[Any]]:
    import numpy as np

    listed = head.get("tensors")
    if not isinstance(listed, list) or len(listed) > _MAX_TENSORS:
        raise WrongFrameError("no list of tensors, or too many")
    tensors: dict[str, NDArray[Any]] = {}
    at = 0
    for each in listed:
        name, kind, shape = _checked(each)
        dtype = np.dtype(kind)
        end = at + math.prod(shape) * dtype.itemsize
        if end > len(body):
            raise WrongFrameError(f"{name} is longer than its frame")
        # A copy, since the number before it may have left it at an address that its type does not allow.
        tensors[name] = np.frombuffer(bytes(body[at:end]), dtype).reshape(shape)
        at = end
    return tensors


def _checked(each: object) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(each, dict):
        raise WrongFrameError("a tensor is described by an object")
    name, kind, shape = each.get("name"), each.get("kind"), each.get("shape")
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise WrongFrameError("a tensor without a type or a shape")
    if not all(type(length) is int and 0 <= length <= MAX_TENSOR_BYTES for length in shape):
        raise WrongFrameError("a shape consists of whole numbers")
    return _names([name])[0], kind, tuple(shape)


def _names(found: object) -> list[str]:
    if not isinstance(found, list) or len(found) > _MAX_TENSORS:
        raise WrongFrameError("no list of names, or too many")
    if not all(isinstance(name, str) and len(name) <= _MAX_NAME for name in found):
        raise WrongFrameError("a name is a text, and no long one")
    return found


def _send(connection: int, head: Mapping[str, object], tensors: Sequence[NDArray[Any]]) -> None:
    # os.write: a jailed process may use its sockets, and may make none of the calls that are for sockets alone.
    text = json.dumps(head).encode()
    bodies = [tensor.tobytes() for tensor in tensors]
    _write(connection, _LENGTHS.pack(len(text), sum(map(len, bodies))) + text)
    for body in bodies:
        _write(connection, body)


def _write(connection: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(connection, left) :]


def _receive(connection: int) -> tuple[dict[str, Any], memoryview] | None:
    """The next frame; None where the other side has left."""
    if (lengths := _read(connection, _LENGTHS.size)) is None:
        return None
    head_bytes, body_bytes = _LENGTHS.unpack(lengths)
    if head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_TENSOR_BYTES:
        raise WrongFrameError(f"a frame of {head_bytes:,} and {body_bytes:,} bytes")
    text, body = _read(connection, head_bytes), _read(connection, body_bytes)
    if text is None or body is None:
        return None
    try:
        head = json.loads(bytes(text))
    except ValueError as error:
        raise WrongFrameError("a frame that is not JSON") from error
    if not isinstance(head, dict):
        raise WrongFrameError("a frame that is no object")
    return head, body


def _read(connection: int, size: int) -> memoryview | None:
    content = memoryview(bytearray(size))
    at = 0
    while at < size:
        if not (count := os.readv(connection, [content[at:]])):
            return None
        at += count
    return content
