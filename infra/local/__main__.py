"""``python -m infra.local``."""

from __future__ import annotations

import sys

from infra.local.options import parse
from infra.local.server import run


def main() -> None:
    """Serve until told to stop. Exits with status 1 and a sentence where the address cannot be had."""
    options = parse(sys.argv[1:])
    try:
        run(options)
    except OSError as error:
        sys.exit(f"cannot listen on {options.listen} port {options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
