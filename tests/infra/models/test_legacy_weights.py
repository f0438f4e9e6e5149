"""Tensors out of a PyTorch file, without PyTorch, and nothing else out of it."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import sys
import types
from typing import Any

import numpy as np
import pytest

from infra.models.legacy_weights import read_tensors


class FloatStorage:
    """Stands for PyTorch's class of that name while a file is written."""


def _rebuild_tensor_v2(*_: Any) -> None:
    """Stands for PyTorch's function of that name."""


class TensorStub:
    """Is written as a tensor is: a call of that function."""

    def __init__(self, key: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.arguments: tuple[Any, ...] = (StorageStub(key), offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_tensor_v2, self.arguments


class StorageStub:
    """A storage, which is written as a reference."""

    def __init__(self, key: str) -> None:
        self.key = key


class ReferencePickler(pickle.Pickler):
    """Writes storages by reference."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", FloatStorage, obj.key, "cpu", 6, None) if isinstance(obj, StorageStub) else None


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's modules, as far as a file names them."""
    for name, module, value in (
        ("torch", "FloatStorage", FloatStorage),
        ("torch._utils", "_rebuild_tensor_v2", _rebuild_tensor_v2),
    ):
        made = types.ModuleType(name)
        setattr(made, module, value)
        monkeypatch.setitem(sys.modules, name, made)
        monkeypatch.setattr(value, "__module__", name)


def written(tensors: dict[str, Any], numbers: list[float]) -> bytes:
    stream = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    ReferencePickler(stream, protocol=2).dump(collections.OrderedDict(tensors))
    pickle.dump(["one"], stream, protocol=2)
    stream.write(struct.pack("<q", len(numbers)) + np.array(numbers, "<f4").tobytes())
    return stream.getvalue()


def test_a_tensor_is_read_by_its_stride_and_offset() -> None:
    tensors = {"a": TensorStub("one", 1, (2, 2), (1, 2)), "b": TensorStub("one", 0, (5,), (1,))}
    read = read_tensors(written(tensors, [0, 1, 2, 3, 4]))
    assert read["a"].tolist() == [[1, 3], [2, 4]]
    assert read["b"].tolist() == [0, 1, 2, 3, 4]


def test_anything_but_tensors_is_refused() -> None:
    stream = io.BytesIO()
    pickle.dump(print, stream)
    with pytest.raises(pickle.UnpicklingError, match=r"builtins.print, which is no tensor"):
        read_tensors(stream.getvalue())
