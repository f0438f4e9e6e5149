"""The commented sample configuration, which comes with a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from webhook.cli.options import fail

SAMPLE = Path(__file__).resolve().parents[2] / "yurt.toml"


def configuration(chosen: Path | None, *others: Path) -> Path:
    """The chosen file, or else the first that exists: of the others in turn, then the sample. Ends the program where
    none does.
    """
    candidates = [chosen] if chosen else [*others, SAMPLE]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        fail(f"there is no {candidates[-1]}: name a configuration with --config, or run this from a checkout of Yurt")
    return found.resolve()


def overrides() -> dict[str, str]:
    """Variables of the environment that take the place of fields of the configuration; secrets are not among them."""
    return {name: value for name, value in os.environ.items() if name.startswith("YURT_") and "__" in name}
