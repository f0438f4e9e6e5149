"""Opens a graph in onnxruntime: on a graphics card where there is one that it can use, and without telemetry."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workers.inference.errors import UnusableModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ENVIRONMENT = {
    # Official builds from 1.29 on otherwise start a thread, write a database into the home folder, and send reports.
    "ORT_DISABLE_TELEMETRY": "1",
    # A fork has one thread: those that numpy's BLAS starts when it is imported would be missing in it.
    "OPENBLAS_NUM_THREADS": "1",
}
_DRIVER = Path("/dev/nvidiactl")
"""Is there where a driver of NVIDIA is."""
_FOR_CARDS = "onnxruntime-gpu"
"""The package that can use it: the extra ``gpu``."""
ON_CARDS = "CUDAExecutionProvider"
"""How onnxruntime calls NVIDIA's cards."""
_ERRORS_ONLY = 3
_MAX_DETAIL = 300


def available() -> bool:
    """Whether the packages are installed."""
    return all(importlib.util.find_spec(name) for name in ("numpy", "onnxruntime"))


def has_card() -> bool:
    """Whether there is a graphics card, and the package that can use it."""
    return _DRIVER.exists() and any(importlib.metadata.distributions(name=_FOR_CARDS))


def load_library(name: str) -> ModuleType:
    """Import numpy, or what needs it, so that it stands a fork. Raises ImportError where it is not installed."""
    with _environment():
        return importlib.import_module(name)


def open_session(graph: Path) -> InferenceSession:
    """Load a graph for a graphics card, or for one thread of the processor.

    Raises UnusableModelError, and ImportError without the packages.
    """
    onnxruntime = load_library("onnxruntime")
    providers = _providers(onnxruntime)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:  # onnxruntime's own types have no common base
        detail = " ".join(str(error).replace(str(graph.parent) + "/", "").split())[:_MAX_DETAIL].rstrip(".")
        message = f"{graph.name} cannot be loaded: {detail}. Is the file whole, and its data beside it in the folder?"
        raise UnusableModelError(message) from error


def _providers(onnxruntime: ModuleType) -> list[str]:
    """Where graphs run, the best first. onnxruntime takes the next one by itself where one cannot be had."""
    if not has_card() or ON_CARDS not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    onnxruntime.preload_dlls()  # those of CUDA and cuDNN that were installed as packages
    return [ON_CARDS, "CPUExecutionProvider"]


@contextmanager
def _environment() -> Iterator[None]:
    """Set the variables while the libraries are loaded, which read them then: handlers of users keep theirs."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
