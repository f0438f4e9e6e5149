"""Finds the configuration that ``yurt demo`` and ``yurt up`` run on: by default the sample of a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from webhook.cli.options import fail

SAMPLE = Path(__file__).resolve().parents[2] / "yurt.toml"


def configuration(chosen: Path | None, *others: Path) -> Path:
    """The chosen file, or else the first that exists of ``others`` and the sample.

    Ends the program where there is none.
    """
    candidates = [chosen] if chosen else [*others, SAMPLE]
    existing = next((path for path in candidates if path.is_file()), None)
    if existing is None:
        fail(f"there is no {candidates[-1]}: name a configuration with --config, or run this from a checkout of Yurt")
    return existing.resolve()


def overrides() -> dict[str, str]:
    """The environment variables that override fields of the configuration, such as ``YURT_SERVER__LISTEN``."""
    return {name: value for name, value in os.environ.items() if name.startswith("YURT_") and "__" in name}
