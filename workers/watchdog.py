"""Watches the agent from its parent process, and destroys the machine when the agent has ended or hangs.

Used where a machine was minted to slay itself (`workers.self_slaying`). The agent is a child, so that the watchdog
outlives any end of it: idle, refused, SIGKILL, no memory. In a container the watchdog is process 1: it
collects what others leave behind, and hands on signals. It holds the key of the machine; the agent never does.

A machine is left behind only where the watchdog itself is killed with the agent alive. Then the agent drains, and the
control plane destroys the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from workers.self_slaying import OwnMachine, SlayingResult
from workers.signs_of_life import ENVIRONMENT

KILLED = 128 + signal.SIGKILL
"""Exit code of a watchdog whose agent had to be killed."""
_HANDED_ON = (signal.SIGTERM, signal.SIGINT)
_AWAITED = (*_HANDED_ON, signal.SIGCHLD)
_LAST = b"-900"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a watchdog waits for what."""

    silence_seconds: float = 300.0
    """Without a sign of life an agent hangs, and is killed. Counts only while the watchdog runs itself."""
    look_seconds: float = 1.0
    """Between two looks at the agent."""
    dying_seconds: float = 10.0
    """A killed process that does not end waits for a device that hangs: the machine is destroyed all the same."""
    attempt_seconds: float = 30.0
    """One call of the provider's API."""
    first_pause_seconds: float = 1.0
    """After the first attempt that failed; doubles with each."""
    longest_pause_seconds: float = 300.0
    confirm_seconds: float = 20.0
    """The provider agreed, and this process still runs: it is asked again."""
    slaying_seconds: float = 86_400.0
    """All attempts together."""


class Watchdog:
    """Runs one agent as its child, and then destroys the machine. Takes over this process's signals; use once."""

    def __init__(self, machine: OwnMachine, patience: Patience | None = None) -> None:
        self._machine = machine
        self._patience = patience or Patience()
        self._pid = 0
        self._status: int | None = None
        self._life = -1

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run the agent until it ends, destroy the machine, and return the agent's exit code.

        Args:
            command: Of the agent.
            environ: Of the agent.

        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        try:
            self._start(command, environ)
            status = self._attend()
        except Exception as error:  # nothing that goes wrong here may keep the machine
            _log("watchdog-fault", error=type(error).__name__)
            status = self._end_agent()
        self._slay(status)
        return status

    # ── the agent ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._life, end = os.pipe()
        os.set_blocking(self._life, False)
        os.set_inheritable(end, True)
        # Another program, not a fork: a fork's memory would hold the key.
        self._pid = os.posix_spawn(
            command[0], list(command), {**environ, ENVIRONMENT: str(end)}, setsigmask=(), setsigdef=_AWAITED
        )
        os.close(end)
        _be_ended_last()

    def _attend(self) -> int:
        """Wait for the agent's end, or kill it once it hangs; return its exit code."""
        silent = 0.0
        while silent < self._patience.silence_seconds:
            if (status := self._ended()) is not None:
                return status
            began = time.monotonic()
            self._hand_on(signal.sigtimedwait(_AWAITED, self._patience.look_seconds))
            # A machine that was suspended did not let the agent run either.
            awake = min(time.monotonic() - began, self._patience.look_seconds)
            silent = 0.0 if self._gave_sign() else silent + awake
        _log("agent-hangs", silent_seconds=round(silent))
        return self._end_agent()

    def _end_agent(self) -> int:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        until = time.monotonic() + self._patience.dying_seconds
        while self._pid and self._ended() is None and time.monotonic() < until:
            signal.sigtimedwait((signal.SIGCHLD,), self._patience.look_seconds)
        return KILLED

    def _ended(self) -> int | None:
        """Collect every process that has ended. The agent's exit code; None: it goes on."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == self._pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self._status = code if code >= 0 else 128 - code
        return self._status

    def _hand_on(self, received: signal.struct_siginfo | None) -> None:
        """Hand a signal on to the agent, but for Ctrl-C: the terminal sends that to both."""
        if received is not None and received.si_signo in _HANDED_ON and received.si_code <= 0:
            os.kill(self._pid, received.si_signo)

    def _gave_sign(self) -> bool:
        try:
            return bool(os.read(self._life, 4096))
        except BlockingIOError:
            return False

    # ── the machine ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _slay(self, status: int) -> None:
        """Ask the provider to destroy this machine until it has none of this name any more, or for a day."""
        machine, patience = self._machine, self._patience
        _log("slaying-itself", provider=machine.kind, machine=machine.id, agent_exit=status)
        until = time.monotonic() + patience.slaying_seconds
        pause = patience.first_pause_seconds
        while time.monotonic() < until:
            attempt = machine.destroy(patience.attempt_seconds)
            _log("slaying-attempt", result=attempt.result.value, reason=attempt.reason)
            if attempt.result is SlayingResult.GONE:
                return
            if attempt.result is SlayingResult.AGREED:
                if signal.sigtimedwait(_HANDED_ON, patience.confirm_seconds):
                    return  # it is being destroyed
                continue
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - machines that lost one control plane spread out
            pause = min(2 * pause, patience.longest_pause_seconds)
        _log("not-slain", hint="Destroy this machine by hand: the provider has not done it.")


def watch(machine: OwnMachine, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the agent with this command and environment under a watchdog, then destroy the machine; its exit code."""
    return Watchdog(machine).run(command, environ)


def _be_ended_last() -> None:
    """Have the kernel, when memory runs out, spare this process, where it lets us."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as score:  # noqa: PTH123
        score.write(_LAST)


def _log(event: str, **fields: object) -> None:
    """Write one line of the log, in the agent's form. Its library is not loaded, so that this process stays small."""
    line = {"event": event, "level": "warning", "timestamp": datetime.now(UTC).isoformat(), **fields}
    with contextlib.suppress(OSError):  # no reader is left
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()
