"""The process that runs models: ``python -m workers.inference PARENT_PIPE CONTROL MODELS``.

``PARENT_PIPE`` is the number of the file descriptor whose other end closes when the agent ends; over the socket
``CONTROL`` come the connections of handlers' processes; ``MODELS`` is the folder below which all graphs lie. It is
jailed as a handler is: it reads models and libraries, writes nothing, and opens no connection.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import socket
import sys
from functools import partial
from pathlib import Path

from workers.inference.memory import limit_bytes
from workers.inference.runtime import has_card, load_library
from workers.inference.server import InferenceServer
from workers.machine_memory import memory_bytes
from workers.sandbox.child import jail, limits, parent_death
from workers.sandbox.child.jail.handler_policy import policy_of_inference


def main(parent_pipe: str, control: str, models: str) -> None:
    """Serve until the agent ends, or closes the control socket."""
    parent_death.end_with(int(parent_pipe))
    limits.no_core_dumps()
    faulthandler.enable()
    on_card = has_card()
    if not on_card:  # a driver maps what is the card's, and more than there is
        limit = limit_bytes(memory_bytes())
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if not jail.support().missing:
        jail.enter(policy_of_inference(Path(models), graphics=on_card))
    load_library("onnxruntime")
    with socket.socket(fileno=int(control)) as connections:
        server = InferenceServer(Path(models), _processors(), loaded=_tell_loaded, give_up=partial(os._exit, 1))
        server.serve(connections)
    os._exit(0)  # a graph that runs still is waited for by nobody


def _tell_loaded(graph: str, runs_on: str, seconds: float) -> None:
    """Tell the agent: by a line on standard output."""
    print(json.dumps({"graph": graph, "runs_on": runs_on, "seconds": round(seconds, 3)}), flush=True)  # noqa: T201


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


if __name__ == "__main__":
    main(*sys.argv[1:])
