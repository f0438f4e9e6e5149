"""The age of a process, as a process itself sees it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from workers.process_age import age_seconds

_SAYS = "import time; began = time.time(); from workers.process_age import age_seconds; print(began, age_seconds())"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not say it elsewhere")
def test_it_counts_from_before_the_first_line_of_python() -> None:
    before = time.time()
    began, age = map(float, subprocess.check_output([sys.executable, "-c", _SAYS], text=True).split())
    assert 0 < age <= time.time() - before + 0.02, "ticks are of a hundredth of a second"
    mine = age_seconds()
    assert mine is not None
    assert mine > age
    assert began > before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not say it elsewhere")
def test_the_name_of_a_program_may_hold_anything() -> None:
    named = "import ctypes; ctypes.CDLL(None).prctl(15, b') 1 (2 3', 0, 0, 0)\n" + _SAYS.replace("; ", "\n")
    _, age = subprocess.check_output([sys.executable, "-c", named], text=True).split()
    assert 0 < float(age) < 600
