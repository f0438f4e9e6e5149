"""Reads offers and instances of Vast.ai's answers, at the price that is really paid. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from webhook.fleet.providers import Instance, Offer
from webhook.fleet.providers.http_api import ApiAnswer
from webhook.provider_settings.vast import VastSettings

MONTH_HOURS = 730
"""By which the price of a disk, for a GB and month, is paid each hour."""
NEVER_WELL = frozenset({"exited", "unknown", "offline", "stopped", "frozen"})
"""States that an instance does not leave by itself. One that is stopped still pays for its disk."""
_MOST_USD = Decimal(100_000)
_STEP_USD = Decimal("0.000001")
"""The market's JSON has binary fractions: what differs by less is one price."""
_TEXT_CHARACTERS = 40
is_id = re.compile(r"[1-9][0-9]{0,18}").fullmatch


def read_offer(one: object, settings: VastSettings) -> Offer | None:
    """An offer of a search. None: it has no price, or is none; it would be rented without a limit."""
    if not isinstance(one, dict):
        return None
    id, hourly, traffic = _id(one, "id"), hourly_usd(one, settings.disk_gb), _amount(one, "inet_down_cost")
    if not id or hourly is None or traffic is None:
        return None
    return Offer(
        id,
        hourly,
        usd_once=traffic * (settings.image_gb + settings.weights_gb),
        usd_per_gb=traffic,
        machine=_id(one, "machine_id"),
        host=_id(one, "host_id"),
        description=_described(one),
    )


def hourly_usd(one: Mapping[str, Any], disk_gb: int) -> Decimal | None:
    """The price of an hour, machine and disk. None: it is not known, or 0.

    ``dph_total`` includes the disk, but only as much of it as the search asked for: the greater of it and the sum of
    its parts is what is reckoned with.
    """
    total, base, storage = (_amount(one, name) for name in ("dph_total", "dph_base", "storage_cost"))
    if not total:
        return None
    parts = Decimal(0) if base is None or storage is None else base + storage * disk_gb / MONTH_HOURS
    return max(total, parts).quantize(_STEP_USD, ROUND_HALF_UP) or None


def read_instance(answer: ApiAnswer, one: object, disk_gb: int) -> Instance | None:
    """An instance of a list. None: it has no label. Raises ProviderError where it could not be destroyed."""
    if not isinstance(one, dict):
        raise answer.error("shows an instance that is none")
    label, status = one.get("label"), one.get("actual_status")
    if not isinstance(label, str):
        return None
    if not (id := _id(one, "id")):
        raise answer.error("shows an instance without id")
    status = status if isinstance(status, str) else ""
    price = hourly_usd(one, disk_gb)
    return Instance(label, id, running=status not in NEVER_WELL, usd_per_hour=price, status=status or "ordered")


def contract_of(answer: ApiAnswer) -> str:
    """The instance that an answer to a creation names, also one that is an error. Empty: none."""
    return _id(answer.object, "new_contract")


def _id(one: Mapping[str, Any], field: str) -> str:
    value = one.get(field)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if is_id(text) else ""


def _amount(one: Mapping[str, Any], field: str) -> Decimal | None:
    """An amount in US dollars, 0 or more. None: there is none."""
    value = one.get(field)
    if isinstance(value, bool) or not isinstance(value, Decimal | int) or not 0 <= value <= _MOST_USD:
        return None
    return Decimal(value)


def _described(one: Mapping[str, Any]) -> str:
    """For people: ``1× RTX 3090, 24 GB, Sweden, SE``."""
    memory = one.get("gpu_ram")
    gigabytes = f"{memory / 1024:.0f} GB" if isinstance(memory, int | Decimal) and 0 < memory < _MOST_USD * 100 else ""
    count = one.get("num_gpus")
    gpu = f"{count if isinstance(count, int) else '?'}× {_text(one, 'gpu_name') or 'GPU'}"
    return ", ".join(part for part in (gpu, gigabytes, _text(one, "geolocation")) if part)


def _text(one: Mapping[str, Any], field: str) -> str:
    value = one.get(field)
    return value[:_TEXT_CHARACTERS] if isinstance(value, str) and value.isprintable() else ""
