from __future__ import annotations

import os
import signal

import pytest

from infra.interrupts import Interrupted, Interrupts


def test_a_signal_is_raised_by_the_next_check() -> None:
    interrupts = Interrupts()
    with interrupts.listening():
        interrupts.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupts.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.count == 2


def test_waiting_ends_at_a_signal() -> None:
    interrupts = Interrupts()
    with interrupts.listening():
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            interrupts.wait(60)


def test_the_earlier_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts().listening():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
