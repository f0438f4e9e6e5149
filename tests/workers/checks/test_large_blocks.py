"""Large blocks of memory that are mapped apart while a model is loaded."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from workers.checks.large_blocks import mapped_apart
from workers.sandbox.environment import scrubbed

ROOT = Path(__file__).parents[3]
BLOCKS = """
import ctypes
from pathlib import Path
from workers.checks.large_blocks import mapped_apart

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def is_in_heap():
    [heap] = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[heap]")]
    first, end = (int(address, 16) for address in heap.split("-"))
    return first <= libc.malloc(24 << 20) < end

before = is_in_heap()
with mapped_apart():
    meanwhile = is_in_heap()
print(before, meanwhile, is_in_heap())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="mallopt is glibc's")
def test_blocks_come_out_of_the_heap_but_while_a_model_is_loaded() -> None:
    environment = scrubbed({"PYTHONPATH": str(ROOT)})
    command = [sys.executable, "-c", BLOCKS]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert ran.stdout == "True False True\n", ran.stderr


def test_what_is_raised_meanwhile_is_raised() -> None:
    with pytest.raises(KeyError), mapped_apart():
        raise KeyError
