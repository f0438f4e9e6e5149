"""Describes a worker's container to the Docker Engine API: image, command, limits, and what it may not do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import MintOrder
from webhook.provider_settings import DockerSettings
from webhook.provider_settings.docker import MountSettings

OWNER, POOL, LABEL = "yurt.owner", "yurt.pool", "yurt.label"
"""Labels of a container: the installation, the pool, and the machine's own, which is the container's name too."""
STOP_SECONDS = 5
"""From SIGTERM to SIGKILL."""
_PROCESSES = 4096
_LOG_OPTIONS = {"max-size": "10m", "max-file": "2"}


def described(settings: DockerSettings, owner: str, order: MintOrder) -> dict[str, Any]:
    """Return the body of the call that creates the container."""
    return {
        "Image": settings.image,
        **_command(settings),
        "Env": [f"{name}={value}" for name, value in _environment(settings, order).items()],
        "Labels": {OWNER: owner, POOL: order.pool, LABEL: order.label},
        # The image's health check asks the control plane that a worker has not.
        "Healthcheck": {"Test": ["NONE"]},
        "StopTimeout": STOP_SECONDS,
        "HostConfig": {**_confinement(settings), **_resources(settings), **_surroundings(settings)},
    }


def _command(settings: DockerSettings) -> dict[str, Any]:
    if settings.bootstrap is None:
        return {"Cmd": ["worker"]}
    entry_point, *arguments = start_command()
    return {"Entrypoint": [entry_point], "Cmd": arguments}


def _environment(settings: DockerSettings, order: MintOrder) -> Mapping[str, str]:
    return {**settings.environment, **order.environment}


def _confinement(settings: DockerSettings) -> dict[str, Any]:
    return {
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": settings.read_only,
        "Privileged": False,
        # Its first process collects what handlers leave behind, and hands on signals.
        "Init": True,
        # Its log has to be readable after it has ended: the control plane removes it at its next turn.
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
    }


def _resources(settings: DockerSettings) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "PidsLimit": _PROCESSES,
        "LogConfig": {"Type": "json-file", "Config": _LOG_OPTIONS},
    }
    if settings.cpus is not None:
        limits["NanoCpus"] = int(settings.cpus * 1_000_000_000)
    if settings.memory_bytes is not None:
        limits |= {"Memory": settings.memory_bytes, "MemorySwap": settings.memory_bytes}
    if settings.gpus is not None:
        count = -1 if settings.gpus == "all" else settings.gpus
        limits["DeviceRequests"] = [{"Driver": "nvidia", "Count": count, "Capabilities": [["gpu"]]}]
    return limits


def _surroundings(settings: DockerSettings) -> dict[str, Any]:
    # A volume, not a tmpfs: inputs and outputs are on the host's disk, and do not count as the container's memory.
    scratch = {"Type": "volume", "Target": "/tmp"}  # noqa: S108 - in the container
    joined = {"NetworkMode": settings.network} if settings.network else {}
    return {"Mounts": [scratch, *map(_mount, settings.mounts)], **joined}


def _mount(mount: MountSettings) -> dict[str, Any]:
    # Unlike with the older form, Docker fails where the folder is missing, and makes none that belongs to root.
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
