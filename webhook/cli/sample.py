"""Finds the configuration that ``yurt demo`` and ``yurt up`` run on: by default the sample that comes with Yurt."""

from __future__ import annotations

import os
from pathlib import Path

from webhook.cli.options import fail

_PACKAGED = Path(__file__).resolve().with_name("sample.toml")
SAMPLE = _PACKAGED if _PACKAGED.is_file() else _PACKAGED.parents[2] / "yurt.toml"
"""The sample configuration: in a wheel beside this module, in a checkout at its root."""


def configuration(chosen: Path | None, *others: Path) -> Path:
    """The chosen file, or else the first that exists of ``others`` and the sample.

    Ends the program where there is none.
    """
    candidates = [chosen] if chosen else [*others, SAMPLE]
    existing = next((path for path in candidates if path.is_file()), None)
    if existing is None:
        fail(f"there is no {candidates[-1]}: name a configuration with --config")
    return existing.resolve()


def overrides() -> dict[str, str]:
    """The environment variables that override fields of the configuration, such as ``YURT_SERVER__LISTEN``."""
    return {name: value for name, value in os.environ.items() if name.startswith("YURT_") and "__" in name}
