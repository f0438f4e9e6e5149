"""What a handler's process has of the process that runs models: graphs that look as if they were its own.

Outside of a worker, where there is no such process (tools, tests), a graph is loaded by the process that asks for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from workers.inference import runtime, wire
from workers.inference.address import INFERENCE, short_address
from workers.inference.errors import InferenceLost, UnusableModelError
from workers.inference.wire import GraphNode, GraphQuestion, WrongFrameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from onnxruntime import NodeArg


class Graph(Protocol):
    """What onnxruntime's ``InferenceSession`` offers, as far as it is used."""

    def get_inputs(self) -> Sequence[GraphNode | NodeArg]:
        """Names, types and shapes of what it takes."""

    def get_outputs(self) -> Sequence[GraphNode | NodeArg]:
        """Names, types and shapes of what it makes."""

    def run(self, outputs: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return these outputs, in their order."""


class _Connection:
    """This process's connection. One for each process: a fork that shared its parent's would read another's answers."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._pid = 0

    def open(self) -> None:
        """Connect, if there is a process to connect to. Raises InferenceLost."""
        if self._socket is not None and self._pid != os.getpid():
            self._socket.close()
            self._socket = None
        if self._socket is None and (address := os.environ.get(INFERENCE)):
            self._socket, self._pid = _connected(address), os.getpid()

    def close(self) -> None:
        """Close it, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, question: GraphQuestion) -> Any:
        """Return the answer. Raises UnusableModelError and InferenceLost."""
        self.open()
        assert self._socket is not None
        try:
            wire.ask(self._socket.fileno(), question)
            found = wire.read_answer(self._socket.fileno())
        except WrongFrameError as error:
            raise UnusableModelError(str(error)) from error
        except OSError as error:
            raise InferenceLost("the process that runs models does not answer") from error
        if found is None:
            raise InferenceLost("the process that runs models has ended while it was asked")
        if isinstance(found, str):
            raise UnusableModelError(found)
        return found


_connection = _Connection()


def connect() -> None:
    """Connect to the process that runs models: before this process is jailed. Raises InferenceLost."""
    _connection.open()


def disconnect() -> None:
    """Close the connection: a template that has asked keeps none, since each of its forks makes its own."""
    _connection.close()


class RemoteGraph:
    """A graph in the process that runs models. Raises UnusableModelError and InferenceLost."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._description = _connection.ask(GraphQuestion(self._path))

    def get_inputs(self) -> Sequence[GraphNode]:
        """Names, types and shapes of what it takes."""
        inputs: list[GraphNode] = self._description.inputs
        return inputs

    def get_outputs(self) -> Sequence[GraphNode]:
        """Names, types and shapes of what it makes."""
        outputs: list[GraphNode] = self._description.outputs
        return outputs

    def run(self, outputs: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return these outputs, in their order. Raises UnusableModelError and InferenceLost."""
        made: Sequence[NDArray[Any]] = _connection.ask(GraphQuestion(self._path, tuple(outputs), tensors))
        return made


def is_remote() -> bool:
    """Whether graphs run in a process of their own."""
    return bool(os.environ.get(INFERENCE))


def open_graph(path: Path) -> Graph:
    """Load a graph where graphs run. Raises UnusableModelError, and InferenceLost."""
    if not is_remote():
        own: Graph = runtime.open_session(path)
        return own
    runtime.load_library("numpy")  # in the template: else each photo's process would load it for its tensors
    return RemoteGraph(path)


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_address(Path(address)) as short:
            connection.connect(short)
    except OSError as error:
        connection.close()
        raise InferenceLost(f"the process that runs models cannot be reached: {error.strerror}") from error
    return connection
