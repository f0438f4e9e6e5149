"""The entry point of the agent, the process that leases objects from the control plane and works on them."""

from __future__ import annotations

import sys

from workers import parent_death
from workers.private_process import close_to_others
from workers.settings import Settings, SettingsError

INTERRUPTED = 130
"""Exit code of an agent that Ctrl-C reached before its signal handlers were installed."""


def main() -> int:
    """Run an agent, configured by ``YURT_*`` variables, until it leaves; return its exit code (`lifecycle.Exit`).

    Takes over the process: its signals, its logs, its event loop.
    """
    close_to_others()
    parent_death.watch()
    try:
        return _run(Settings.take())
    except SettingsError as error:
        sys.stderr.write(f"yurt worker: {error}\n")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(settings: Settings) -> int:
    # Imported only now: a wrong environment is reported at once, and a command line that imports this starts fast.
    import asyncio

    from workers import lifecycle, log

    log.configure(settings.log)
    return asyncio.run(lifecycle.run_agent(settings))
