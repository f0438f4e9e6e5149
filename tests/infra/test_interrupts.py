from __future__ import annotations

import os
import signal
import time

import pytest

from infra.interrupts import Interrupted, Stop


def test_a_signal_is_a_wish_that_the_next_check_grants() -> None:
    stop = Stop()
    with stop.listening():
        stop.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.times == 2


def test_waiting_ends_as_soon_as_asked() -> None:
    stop = Stop()
    with stop.listening():
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started_at = time.monotonic()
        with pytest.raises(Interrupted):
            stop.wait(60)
        assert time.monotonic() - started_at < 30


def test_the_handlers_from_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Stop().listening():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
