"""``python -m infra.local``."""

from __future__ import annotations

import sys

from infra.local.options import parse
from infra.local.server import run

if __name__ == "__main__":
    run(parse(sys.argv[1:]))
