"""Runs a Python program under a watchdog: ``python -m tests.workers.watched_program``.

Arguments: the interpreter, the program, and limits as ``name=seconds``.
"""

from __future__ import annotations

import os
import sys

from workers.self_slaying import OwnMachine
from workers.watchdog import Patience, Watchdog


def main() -> int:
    machine = OwnMachine.take()
    assert machine is not None
    limits = dict(argument.split("=") for argument in sys.argv[3:])
    quick = {"first_pause_seconds": 0.01, "longest_pause_seconds": 0.02, "confirm_seconds": 0.01}
    patience = Patience(**{**quick, **{name: float(seconds) for name, seconds in limits.items()}})
    return Watchdog(machine, patience).run([sys.argv[1], "-c", sys.argv[2]], os.environ)


if __name__ == "__main__":
    sys.exit(main())
