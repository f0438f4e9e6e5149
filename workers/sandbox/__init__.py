"""Runs handlers in child processes with limits, so that a crash, a bomb or a hang ends the child and never
the agent.

The boundary protects the agent from what an *input* does to a handler: it bounds time, memory and outputs,
and ends whatever a handler leaves behind. It is no jail for a handler's own code, which runs as the agent's
user and may open files and sockets: a container or a machine of its own is the boundary there.

Children stay warm and are reused, one a slot. Each lives in a session of its own, with an environment made
from an allow-list, and talks length-prefixed JSON over pipes that its handler cannot print into.
``workers.sandbox.child`` is what runs in them.
"""

from workers.sandbox.errors import WorkerFault
from workers.sandbox.pool import Sandbox

__all__ = ["Sandbox", "WorkerFault"]
