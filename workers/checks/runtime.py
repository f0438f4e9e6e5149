"""Opens a graph in onnxruntime so that it stands a fork: one thread, no open files, and no telemetry.

A session that is opened in the template is there in each forked process without being loaded again: its memory is
shared until it is written to.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workers.checks.large_blocks import mapped_apart
from workers.checks.model_folder import UnusableModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ENVIRONMENT = {
    # Official builds from 1.29 on otherwise start a thread, write a database into the home folder, and send reports.
    "ORT_DISABLE_TELEMETRY": "1",
    # A fork has one thread: those that numpy's BLAS starts when it is imported would be missing in it.
    "OPENBLAS_NUM_THREADS": "1",
}
_ERRORS_ONLY = 3
_MAX_DETAIL = 300


def available() -> bool:
    """Whether the packages are installed."""
    return all(importlib.util.find_spec(name) for name in ("numpy", "onnxruntime"))


def load_library(name: str) -> ModuleType:
    """Import numpy, or what needs it, so that it stands a fork. Raises ImportError where it is not installed."""
    with _environment():
        return importlib.import_module(name)


def open_session(graph: Path) -> InferenceSession:
    """Load a graph for one thread of the processor. Raises UnusableModelError, and ImportError without the packages."""
    onnxruntime = load_library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    try:
        with mapped_apart():
            return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own types have no common base
        detail = " ".join(str(error).replace(str(graph.parent) + "/", "").split())[:_MAX_DETAIL].rstrip(".")
        message = f"{graph.name} cannot be loaded: {detail}. Is the file whole, and its data beside it in the folder?"
        raise UnusableModelError(message) from error


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
