"""What machines cost something for: the phases of their time, and what is paid once."""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["work", "service", "idle", "boot", "once"]
"""``work``: slots that held leases; ``service``: machines that a service had; ``idle``: other slots of ready machines;
``boot``: before the machine called home; ``once``: what is paid once for a machine, such as traffic."""
PHASES: tuple[Phase, ...] = get_args(Phase)


def beneficiary(phase: str, name: str) -> str:
    """What costs were for: a pipeline's name, a service's as ``service:NAME``, or empty. ``name`` is of either."""
    return f"service:{name}" if phase == "service" else name
