"""The entry point of the agent, the process that leases objects from the control plane and works on them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from workers.own_process import SLAYS_ITSELF, own_process
from workers.private_process import close_to_others
from workers.signs_of_life import SignsOfLife

if TYPE_CHECKING:
    from workers.settings import Settings

INTERRUPTED = 130
"""Exit code of an agent that Ctrl-C reached before its signal handlers were installed."""
_FOR_TERMINALS = ("rich", "pygments", "click")
"""Which structlog and httpx load where they are installed, and an agent has no use for: a quarter of its imports."""


def main() -> int:
    """Run an agent, configured by ``YURT_*`` variables, until it leaves; return its exit code (`lifecycle.Exit`).

    Takes over the process: its signals, its logs, its event loop. On a machine that was minted to slay itself the agent
    is a child of this process, which destroys the machine when the agent has ended.
    """
    life = SignsOfLife.take()
    close_to_others()
    if os.environ.get(SLAYS_ITSELF) and (status := _watched()) is not None:
        return status
    return _agent(life)


def _watched() -> int | None:
    """Run the agent under a watchdog, and return its exit code. None: this machine cannot slay itself."""
    from workers import watchdog
    from workers.self_slaying import CannotSlayItself, OwnMachine

    try:
        machine = OwnMachine.take()
    except CannotSlayItself as error:
        sys.stderr.write(f"yurt worker: this machine cannot slay itself: {error}\n")
        return None
    return None if machine is None else watchdog.watch(machine, own_process("workers"), os.environ)


def _agent(life: SignsOfLife | None) -> int:
    # What the table of modules has as None cannot be imported, and structlog and httpx do without it.
    sys.modules.update(dict.fromkeys(_FOR_TERMINALS))  # type: ignore[arg-type]
    # Imported only now: a watchdog stays small.
    from workers import parent_death
    from workers.settings import Settings, SettingsError

    parent_death.watch()
    try:
        return _run(Settings.take(), life)
    except SettingsError as error:
        sys.stderr.write(f"yurt worker: {error}\n")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(settings: Settings, life: SignsOfLife | None) -> int:
    # Imported only now: a wrong environment is reported at once, and a command line that imports this starts fast.
    import asyncio

    from workers.beginning import run_agent

    def configure_log() -> None:
        from workers import log

        log.configure(settings.log)

    work = run_agent(settings, begun=configure_log)
    return asyncio.run(work if life is None else life.during(work))
