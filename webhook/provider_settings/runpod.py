"""Settings of the runpod provider."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from webhook.provider_settings.base import BaseProviderSettings, Bootstrap, Environment, Gigabytes, Image, Usd

DataCenter = Annotated[str, Field(pattern=r"^[A-Z]{2,4}(-[A-Z0-9]{1,5}){1,3}$")]
"""As RunPod's catalog lists them: ``EU-RO-1``."""


class RunpodSettings(BaseProviderSettings):
    """Pods at RunPod. The key is ``RUNPOD_API_KEY``."""

    usual_boot_seconds: ClassVar[float] = 600

    kind: Literal["runpod"]
    image: Image
    """What a pod runs: an image whose command is ``yurt worker``."""
    bootstrap: Bootstrap = None
    """``python``: the image is any with Python 3.11 or newer, into which the worker is installed at each start."""
    gpu: Annotated[str, Field(min_length=1, max_length=100)]
    """The kind of GPU by RunPod's id: ``NVIDIA GeForce RTX 4090``."""
    usd_per_hour: Annotated[Usd, Field(gt=0)]
    """What such a pod costs at most. Once it is there, RunPod itself says what it costs."""
    gpus: Annotated[int, Field(ge=1, le=8)] = 1
    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    """RunPod's own data centers, or other people's machines."""
    data_centers: Annotated[tuple[DataCenter, ...], Field(max_length=50)] = ()
    """Where a pod may be. Empty: anywhere."""
    disk_gb: Gigabytes = 20
    """Disk of the container, which is gone with the pod."""
    registry: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")] | None = None
    """RunPod's id of stored credentials for the image's registry. None: a public image."""
    environment: Environment = {}  # noqa: RUF012 - pydantic copies it
    """Variables that a worker gets beside Yurt's own."""
