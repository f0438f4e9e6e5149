"""Settings of the kubernetes provider: the cluster, and what each worker's Pod asks for."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from webhook.provider_settings.base import (
    AbsolutePath,
    BaseProviderSettings,
    Bootstrap,
    ContainerPath,
    Environment,
    Gigabytes,
    Image,
    Usd,
)

_LABEL_PART = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_QUANTITY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def _quantity(value: str) -> str:
    if not _QUANTITY.fullmatch(value) or not any(digit in "123456789" for digit in value):
        raise ValueError("has to be an amount above 0 as Kubernetes writes it: 500m, 2, 4Gi")
    return value


def _number_as_text(value: object) -> object:
    """A number may stand without quotes: ``"nvidia.com/gpu" = 1``."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Name of a namespace."""
DnsName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""Name of a Secret, a service account, a runtime class, a claim."""
LabelKey = Annotated[str, Field(pattern=rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL_PART}$")]
LabelValue = Annotated[str, Field(pattern=rf"^({_LABEL_PART})?$")]
Quantity = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_quantity)]
Resources = Annotated[dict[LabelKey, Quantity], Field(max_length=20)]
"""Amounts by the name of the resource: ``cpu``, ``memory``, ``ephemeral-storage``, ``nvidia.com/gpu``."""


class TolerationSettings(BaseModel):
    """A taint of nodes that workers put up with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: LabelKey | None = None
    """Key of the taint; none: every taint, with ``operator = "Exists"``."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the taint's value has to be ``value``, or may be any."""
    value: LabelValue = ""
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; none: any."""

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError('operator = "Exists" takes every value: leave out value')
        if self.operator == "Equal" and self.key is None:
            raise ValueError('a toleration without key needs operator = "Exists"')
        return self


class CacheSettings(BaseModel):
    """A volume that workers share, for models and the like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: ContainerPath
    """Where the container has it."""
    claim: DnsName | None = None
    """Name of a PersistentVolumeClaim in the namespace. Several nodes need one that is ``ReadWriteMany``."""
    host_path: AbsolutePath | None = None
    """Folder of the node that runs the Pod; it has to be there. The restricted Pod security standard forbids it."""
    read_only: bool = False
    """Whether workers may only read it."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.claim is None) == (self.host_path is None):
            raise ValueError("set either claim or host_path")
        return self


class KubernetesSettings(BaseProviderSettings):
    """Jobs in a Kubernetes cluster, one for each machine."""

    rented: ClassVar[bool] = False

    usual_boot_seconds: ClassVar[float] = 180

    kind: Literal["kubernetes"]
    kubeconfig: AbsolutePath | None = None
    """File that says how to reach the cluster. By default Yurt runs in the cluster and uses its service account."""
    context: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Context of the kubeconfig; by default its current one."""
    namespace: DnsLabel = "yurt-workers"
    """Namespace of the Jobs."""
    image: Image
    """The workers' image, whose entry point takes the command ``worker``."""
    bootstrap: Bootstrap = None
    """``python``: the image is any with Python 3.11 or newer, into which the worker is installed at each start."""
    image_pull_secrets: Annotated[tuple[DnsName, ...], Field(max_length=10)] = ()
    """Names of Secrets of the namespace with the registry's credentials."""
    requests: Resources = Field(default={})
    """What a node has to have free for one worker."""
    limits: Resources = Field(default={})
    """The most that one worker may use. GPUs belong here."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=20)] = Field(default={})
    """Labels that a node has to have."""
    tolerations: Annotated[tuple[TolerationSettings, ...], Field(max_length=20)] = ()
    """Taints of nodes that workers put up with."""
    runtime_class: DnsName | None = None
    """RuntimeClass of the Pods: that of gVisor or Kata, say."""
    service_account: DnsName | None = None
    """Service account of the Pods, whose token they never get. By default that of the namespace."""
    user: Annotated[int, Field(ge=1, le=2_147_483_647)] = 10001
    """Number of the user and group that the worker runs as: that of the user ``yurt`` in our image."""
    work_gb: Gigabytes | None = None
    """Most that inputs and outputs may take on the node's disk. A Pod that takes more is evicted."""
    cache: CacheSettings | None = None
    """A volume that workers share."""
    environment: Environment = Field(default={})
    """Variables that a worker gets beside Yurt's own."""
    usd_per_hour: Usd = Decimal(0)
    """What one worker costs, for budgets and ``yurt costs``; 0: nothing."""
    machines: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most workers of this installation in the namespace."""
    deadline_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 86_400
    """The cluster itself ends a worker after so long, also where the control plane is lost."""
    node_wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Wait so long for a node, which a cluster autoscaler boots. 0: a Pod that fits on no node now finds no room."""

    @property
    def boot_seconds(self) -> float:
        """With the time for which a Pod may wait for a node."""
        return super().boot_seconds + self.node_wait_seconds

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.context is not None and self.kubeconfig is None:
            raise ValueError("context is one of a kubeconfig: set kubeconfig too")
        return self
