"""Command lines of Yurt's own processes, which never import from the current directory.

``python -m`` puts the current directory before everything else that Python imports from. A user's own folder of the
name ``workers`` there would be run in place of the agent. ``-P`` leaves it out (Python 3.11, "safe path").
"""

from __future__ import annotations

import sys

SLAYS_ITSELF = "YURT_SLAYS_ITSELF"
"""Environment variable on a machine that was minted to destroy itself: ``vast`` or ``runpod``, whose API does it.

Its worker runs under a watchdog (`workers.watchdog`), with what `workers.self_slaying` reads.
"""


def own_process(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of Yurt's modules with this interpreter, whatever the current directory holds.

    Args:
        module: Dotted name, as after ``python -m``.
        arguments: What follows it.

    """
    return [sys.executable, "-P", "-m", module, *arguments]
