"""Reads the files of a model's folder: finds the graph, and reads its two JSON files within limits."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from workers.inference.errors import UnusableModelError

_Model = TypeVar("_Model", bound=BaseModel)

_GRAPHS = ("model.onnx", "onnx/model.onnx")
_MAX_JSON_BYTES = 1 << 20
_MAX_GRAPH_BYTES = 2 << 30
"""What a protobuf holds at most. Larger weights lie in files beside the graph."""


def graph(folder: Path) -> Path:
    """Return the path of the ONNX file: under one of two usual names, or the only one. Raises UnusableModelError."""
    found = [path for name in _GRAPHS if (path := folder / name).is_file()] or sorted(folder.glob("*.onnx"))
    if not found:
        raise UnusableModelError("has no ONNX file: export the model to ONNX, and publish it as model.onnx")
    if len(found) > 1 and found[0].name != "model.onnx":
        names = ", ".join(path.name for path in found)
        raise UnusableModelError(f"has several ONNX files ({names}): name the one to use model.onnx")
    if (size := found[0].stat().st_size) > _MAX_GRAPH_BYTES:
        raise UnusableModelError(f"{found[0].name} has {size:,} bytes, at most {_MAX_GRAPH_BYTES:,} are read")
    return found[0]


def read_json(folder: Path, name: str, model: type[_Model], purpose: str) -> _Model:
    """Return one of the JSON files as ``model``. ``purpose`` says what it is for. Raises UnusableModelError."""
    try:
        with (folder / name).open("rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
    except OSError as error:
        raise UnusableModelError(f"has no {name}, which {purpose}: take it from the model's repository") from error
    if len(content) > _MAX_JSON_BYTES:
        raise UnusableModelError(f"{name} is longer than {_MAX_JSON_BYTES:,} bytes")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise UnusableModelError(f"{name}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else fault["msg"]
