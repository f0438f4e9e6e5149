"""The server's own process: how many files it may open."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

_SHOWN = """
import resource
from webhook.server import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_file_limit({connections})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "now"),
    [
        (256, 2000, 768, 768 * 4 // 3 + 256),  # as far as is needed
        (256, 1000, 4096, 1000),  # as far as is allowed
        (1900, 2000, 64, 1900),  # never lower
    ],
)
def test_the_limit_of_open_files_is_raised(soft: int, hard: int, connections: int, now: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this process may open too few files")
    program = _SHOWN.format(soft=soft, hard=hard, connections=connections)
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(now), str(hard)]
