"""``--deployed``: what was deployed on a running control plane, beside the definitions of ``yurt.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.config_file import load
from webhook.definitions.assembly import KINDS, Assembly, sets_of
from webhook.ledger.definitions import FILE, Sets


def configured(path: Path, *, deployed: bool, url: str) -> Config:
    """Load a configuration; ``deployed``: with what was deployed. Raises ConfigError."""
    from workers.handlers.registry import options_model

    config = load(path, options_model)
    if not deployed:
        return config
    try:
        listed = ask("GET", url, "/v1/definitions", admin_token(url))["definitions"]
    except ControlPlaneUnreachable as error:
        raise ConfigError(str(error)) from None
    others: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for each in listed:
        if each["owner"] != FILE:
            others.setdefault(each["owner"], {})[each["kind"], each["name"]] = each["body"]
    own = sets_of(config)
    taken = [
        f"{kind}.{name}: {owner} has this name"
        for owner in others
        for kind, name in others[owner]
        if (kind, name) in own
    ]
    sets: dict[str, Sets] = {FILE: own, **others}
    assembled = Assembly(config, options_model).assembled(sets)
    left_out = [f"{owner}: {fault}" for owner, faults in assembled.left_out.items() for fault in faults]
    if wrong := [*taken, *left_out]:
        raise ConfigError("what was deployed does not hold beside this file:\n" + "\n".join(wrong))
    return config.model_copy(update={kind: getattr(assembled.definitions, kind) for kind in KINDS})
