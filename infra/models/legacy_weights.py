"""Reads the tensors of a PyTorch file in the format before 1.6, without PyTorch and without running what it holds."""

from __future__ import annotations

import collections
import io
import pickle
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_HEADERS = 3
"""Pickles before the tensors: a magic number, the version, the machine."""


class _Storage:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.numbers: NDArray[Any] = np.empty(0)


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """The numbers in their shape. By the stride: tensors that came from elsewhere need not be contiguous."""
        numbers = self.storage.numbers[self.offset :]
        strides = tuple(step * numbers.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(numbers, self.size, strides, writeable=False)


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Return each tensor by its name. Raises ``pickle.UnpicklingError`` for anything but tensors of known types."""
    stream = io.BytesIO(content)
    for _ in range(_HEADERS):
        _TensorsOnly(stream, {}).load()
    storages: dict[str, _Storage] = {}
    tensors = _TensorsOnly(stream, storages).load()
    for key in _TensorsOnly(stream, {}).load():
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        storage.numbers = np.frombuffer(stream.read(count * np.dtype(storage.kind).itemsize), storage.kind)
    return {name: tensor.array() for name, tensor in tensors.items()}


class _TensorsOnly(pickle.Unpickler):
    """Knows the three names that a file of weights holds, and refuses all others."""

    def __init__(self, stream: io.BytesIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"the file holds {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, *_ = pid
        return self._storages.setdefault(key, _Storage(kind))
