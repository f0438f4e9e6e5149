"""Settings of the fly provider."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from webhook.provider_settings.base import BaseProviderSettings, Bootstrap, Environment, Image, Usd

Region = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
"""As ``fly platform regions`` lists them: ``ams``."""


class FlySettings(BaseProviderSettings):
    """Fly Machines of one app. The key is ``FLY_API_TOKEN``."""

    usual_boot_seconds: ClassVar[float] = 300

    kind: Literal["fly"]
    app: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """The app in which machines are created. It is made once, by a person, and holds nothing else."""
    image: Image
    """What a machine runs: an image whose command is ``yurt worker``."""
    bootstrap: Bootstrap = None
    """``python``: the image is any with Python 3.11 or newer, into which the worker is installed at each start."""
    usd_per_hour: Annotated[Usd, Field(gt=0)]
    """What such a machine costs: the API does not say it."""
    regions: Annotated[tuple[Region, ...], Field(max_length=50)] = ()
    """Where to create machines, in this order. Empty: where Fly chooses."""
    cpu_kind: Literal["shared", "performance"] = "shared"
    cpus: Annotated[int, Field(ge=1, le=64)] = 2
    memory_mb: Annotated[int, Field(ge=256, le=1_048_576, multiple_of=256)] = 2_048
    gpu_kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """As Fly calls it. None: no GPU."""
    gpus: Annotated[int, Field(ge=1, le=8)] = 1
    """How many, with ``gpu_kind``."""
    environment: Environment = {}  # noqa: RUF012 - pydantic copies it
    """Variables that a worker gets beside Yurt's own."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.gpus > 1 and self.gpu_kind is None:
            raise ValueError("gpus is set without gpu_kind: say which kind of GPU")
        return self
