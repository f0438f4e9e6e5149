"""What the settings of every kind of provider have in common."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_OURS = frozenset({"YURT_URL", "YURT_TOKEN", "YURT_LABEL", "YURT_SLAYS_ITSELF", "YURT_SLAY_URL", "YURT_WATCHDOG"})
_SECRET = re.compile(r"(?i)(secret|password|passwd|api_?key|access_?key|credential|(^|_)(auth|token)(_|$))")


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable")
        if name in _OURS:
            raise ValueError(f"{name} is set by Yurt for each machine: leave it out")
        if _SECRET.search(name):
            raise ValueError(f"{name} looks like a secret: a worker gets none, and this file is no place for one")
        if "\0" in text or len(text) > 4_000:
            raise ValueError(f"{name} has to be a text of at most 4000 characters")
    return value


_PATH = re.compile(r"/[^\0\n]{0,999}")
_RESERVED_TARGETS = ("/proc", "/sys", "/dev", "/tmp", "/etc", "/opt/yurt", "/usr", "/run", "/var/run")  # noqa: S108 - compared


def _absolute(value: str) -> str:
    if not _PATH.fullmatch(value) or ".." in value.split("/"):
        raise ValueError("has to be an absolute path, beginning with a slash and without '..'")
    return value


def _target(value: str) -> str:
    folder = _absolute(value).rstrip("/")
    if not folder or any(folder == taken or folder.startswith(f"{taken}/") for taken in _RESERVED_TARGETS):
        raise ValueError(f"has to be a folder of its own in the container, such as /cache, not {value}")
    return folder


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path of the control plane's machine, or of a host."""
ContainerPath = Annotated[str, AfterValidator(_target)]
"""A folder in a container, which the image does not have."""
Environment = Annotated[dict[str, str], Field(max_length=50), AfterValidator(_environment)]
"""Variables that a worker gets beside Yurt's own. Not for secrets: the owner of a rented host can read them."""
Bootstrap = Literal["python"] | None
"""How a container of an image without Yurt becomes a worker: ``python`` has it install one. None: the image has it."""
Usd = Annotated[Decimal, Field(ge=0, le=100_000, max_digits=12, decimal_places=6, allow_inf_nan=False)]
"""An amount in US dollars, exactly as it is written."""
Image = Annotated[
    str,
    Field(min_length=1, max_length=500, pattern=r"^[a-z0-9]([a-zA-Z0-9._:/@-]*[a-zA-Z0-9])?$"),
]
"""Reference of a container image: ``registry.example.com/you/yurt:0.2`` or ``…@sha256:…``."""
Gigabytes = Annotated[int, Field(ge=1, le=100_000)]


_BOOTSTRAP_SECONDS = 120
"""To fetch the worker's requirements and install them."""


class BaseProviderSettings(BaseModel):
    """Settings that every kind of provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rented: ClassVar[bool] = True
    """Whether the machines are other people's: then one machine's word is not enough to park an object."""

    usual_boot_seconds: ClassVar[float] = 60
    """How long a machine may take from the order to its first call."""

    @property
    def boot_seconds(self) -> float:
        """The ``boot_seconds`` of a pool that sets none: longer where an image is fetched, or Yurt installed, first."""
        return self.usual_boot_seconds + (_BOOTSTRAP_SECONDS if getattr(self, "bootstrap", None) else 0)

    @property
    def same_machine(self) -> bool:
        """Whether its machines reach a control plane that listens on loopback."""
        return False
