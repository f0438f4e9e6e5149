"""Describes a machine to Kubernetes: a Job with one Pod, confined as the restricted standard wants, and its Secret.

The Secret holds the one-time token. It is created after the Job and belongs to it from the first moment, so it cannot
outlive the Job. Until it is there the Pod waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import MintOrder
from webhook.provider_settings import KubernetesSettings
from webhook.provider_settings.kubernetes import CacheSettings, TolerationSettings

OWNER, POOL, LABEL = "yurt.owner", "yurt.pool", "yurt.label"
"""Labels of Job, Pod and Secret: the installation, the pool, and the machine's own, which is the Job's name too."""
CONTAINER = "worker"
STOP_SECONDS = 10
"""From SIGTERM to SIGKILL."""
FINISHED_SECONDS = 600
"""A finished Job is deleted by the cluster after so long, where the control plane has not read its log and done so."""
_TOKEN = "token"  # noqa: S105 - the name of the Secret's key


def job(settings: KubernetesSettings, owner: str, order: MintOrder) -> dict[str, Any]:
    """Return the Job of a machine."""
    labels = {OWNER: owner, POOL: order.pool, LABEL: order.label}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": order.label, "labels": labels},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            # Its token can be used once: another Pod of the same Job could not call home.
            "backoffLimit": 0,
            "activeDeadlineSeconds": settings.deadline_seconds,
            "ttlSecondsAfterFinished": FINISHED_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(settings, order)},
        },
    }


def secret(order: MintOrder, owner: str, job_uid: str) -> dict[str, Any]:
    """Return the Secret with the one-time token, which the Job owns."""
    owned_by = {"apiVersion": "batch/v1", "kind": "Job", "name": order.label, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": order.label,
            "labels": {OWNER: owner, POOL: order.pool, LABEL: order.label},
            "ownerReferences": [owned_by],
        },
        "type": "Opaque",
        "immutable": True,
        "stringData": {_TOKEN: order.token},
    }


def _pod(settings: KubernetesSettings, order: MintOrder) -> dict[str, Any]:
    optional = {
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [_toleration(one) for one in settings.tolerations],
        "runtimeClassName": settings.runtime_class,
        "serviceAccountName": settings.service_account,
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        # Addresses of the namespace's services would stand in the environment.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": _identity(settings.user),
        "containers": [_container(settings, order)],
        "volumes": _volumes(settings),
        **{name: value for name, value in optional.items() if value},
    }


def _container(settings: KubernetesSettings, order: MintOrder) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": settings.image,
        **({"args": ["worker"]} if settings.bootstrap is None else {"command": list(start_command())}),
        "env": _environment(settings, order),
        "resources": {"requests": dict(settings.requests), "limits": dict(settings.limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(settings.cache),
    }


def _identity(user: int) -> dict[str, Any]:
    # The number is needed: of an image whose user is a name the kubelet cannot know that it is not root.
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _environment(settings: KubernetesSettings, order: MintOrder) -> list[Mapping[str, Any]]:
    given = {**settings.environment, "YURT_URL": order.url, "YURT_LABEL": order.label}
    token = {"secretKeyRef": {"name": order.label, "key": _TOKEN}}
    return [
        # `$(NAME)` would be replaced, and `$$` is a dollar.
        *({"name": name, "value": value.replace("$", "$$")} for name, value in given.items()),
        {"name": "YURT_TOKEN", "valueFrom": token},
    ]


def _toleration(one: TolerationSettings) -> Mapping[str, Any]:
    return {"operator": one.operator, **{k: v for k in ("key", "value", "effect") if (v := getattr(one, k))}}


def _volumes(settings: KubernetesSettings) -> list[Mapping[str, Any]]:
    limit = {"sizeLimit": f"{settings.work_gb}G"} if settings.work_gb else {}
    work = {"name": "work", "emptyDir": limit}
    if settings.cache is None:
        return [work]
    if settings.cache.claim:
        source = {"persistentVolumeClaim": {"claimName": settings.cache.claim, "readOnly": settings.cache.read_only}}
        return [work, {"name": "cache", **source}]
    return [work, {"name": "cache", "hostPath": {"path": settings.cache.host_path, "type": "Directory"}}]


def _mounts(cache: CacheSettings | None) -> list[Mapping[str, Any]]:
    work = {"name": "work", "mountPath": "/tmp"}  # noqa: S108 - in the container
    return [work, {"name": "cache", "mountPath": cache.path, "readOnly": cache.read_only}] if cache else [work]
