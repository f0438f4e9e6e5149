"""Types of values that messages and settings share: digests, names and paths of models, amounts of money."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""In lower-case hexadecimal digits."""
ModelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9-]*$")]


def _below_folder(path: str) -> str:
    if any(step in ("", ".", "..") or step[0] == " " or step[-1] in " ." for step in path.split("/")):
        raise ValueError("has to be a path below a folder, without '.', '..' and empty names")
    return path


ModelPath = Annotated[
    str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9._+=@ ()/,-]+$"), AfterValidator(_below_folder)
]
"""Path of a model's file below the model's folder, with slashes."""
VerdictName = Literal["ok", "review", "refused"]
"""What the checks of a picture make of it, from the best to the worst. A result without checks has none."""
UsdText = Annotated[str, Field(max_length=40, pattern=r"^[0-9]{1,12}(\.[0-9]{1,24})?$")]
"""An exact amount of US dollars, as decimal text: a JSON number would be read as binary floating point."""
ServiceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
"""A DNS label: it may be part of a host name."""
RequestPath = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^/[!-~]*$")]
"""Path and query of a request."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
"""Name of an environment variable."""
LOG_CHARACTERS = 16_000
Log = Annotated[str, Field(max_length=LOG_CHARACTERS)]
"""The end of what was printed."""
Argument = Annotated[str, Field(max_length=4_096, pattern=r"^[^\x00]*$")]
"""One argument of a command."""
MachineFolder = Annotated[str, Field(max_length=1_000, pattern=r"^(/[^\x00]*)?$")]
"""Absolute path of a folder on a worker's machine; empty where none is named."""
MODEL_PLACEHOLDER = re.compile(r"\{model:([^{}]*)\}")
"""``{model:NAME}``, the folder of a model on a worker's disk."""


def placed_models(texts: Iterable[str]) -> set[str]:
    """Return the names of the models whose folders texts are to hold. They may be names of no model."""
    return {name for text in texts for name in MODEL_PLACEHOLDER.findall(text)}
