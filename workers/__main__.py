"""Runs an agent: ``python -m workers``."""

from __future__ import annotations

import sys

from workers.agent import main

if __name__ == "__main__":
    sys.exit(main())
