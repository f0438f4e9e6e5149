"""What a packed module defines: for each function a pipeline for its objects, and one for its calls."""

from __future__ import annotations

from typing import Any

from yurt.decorator import FunctionSettings
from yurt.packing.bundle import Bundle

CALLS = "-calls"
"""Ends the name of the pipeline that runs a function's calls."""


def pipelines(bundle: Bundle, place: str) -> dict[str, dict[str, Any]]:
    """Return the pipelines of a bundle's functions, as in ``yurt.toml``.

    ``place`` is where the control plane keeps bundles (``s3://bucket/prefix/``); calls and their values lie below it.
    """
    made: dict[str, dict[str, Any]] = {}
    for function in bundle.module.functions:
        settings = function.settings
        options = {"bundle": bundle.root, "function": f"{bundle.module.name}:{function.attribute}"}
        if settings.on is not None and settings.output is not None:
            where = {"input": settings.on, "output": settings.output, "suffixes": list(settings.suffixes)}
            made[settings.name] = _pipeline(settings, where, options)
        calls = {"input": f"{place}calls/{settings.name}/", "output": f"{place}results/{settings.name}/"}
        made[settings.name + CALLS] = _pipeline(settings, calls, {**options, "calls": True})
    return made


def _pipeline(settings: FunctionSettings, where: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        **where,
        "handler": "function",
        "options": options,
        "pool": settings.pool,
        "models": list(settings.models),
        "timeout_seconds": settings.timeout_seconds,
        "lease_seconds": max(180.0, settings.timeout_seconds),
        "attempts": settings.attempts,
    }
    if settings.memory_bytes is not None:
        made["limits"] = {"memory_bytes": settings.memory_bytes}
    if settings.network:
        made["sandbox"] = {"network": True}
    if options.get("calls"):
        made["on_delete"] = "remove"  # a value goes with its call
    return {**made, **settings.pipeline}
