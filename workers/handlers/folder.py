"""Names the folder of the user's own modules and programs, in which handlers are found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = "YURT_HANDLERS"
"""Variable with the folder's absolute path. Local workers are given the configuration's folder."""


def handlers_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that this process was told; None where it was told none."""
    return Path(value) if (value := environ.get(ENVIRONMENT, "")) else None
