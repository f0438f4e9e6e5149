"""Offers of the pretend market, and searches among them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from infra.market.exchange import Wrong, expect

MONTH_HOURS = 730
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "notin": lambda value, wanted: value not in wanted,
}


@dataclass(frozen=True)
class MarketOffer:
    """One machine that may be rented. Prices in US dollars, as the market's JSON has them."""

    id: int
    machine_id: int
    host_id: int
    dph_base: float
    """Of an hour, without the disk."""
    gpu_name: str = "RTX 3090"
    num_gpus: int = 1
    gpu_ram: int = 24_576
    """In MB."""
    cuda_max_good: float = 12.4
    storage_cost: float = 0.15
    """Of a GB and month."""
    inet_down: float = 800.0
    inet_down_cost: float = 0.02
    """Of a GB."""
    reliability: float = 0.998
    geolocation: str = "Sweden, SE"
    verified: bool = True
    external: bool = False
    rentable: bool = True
    rented: bool = False

    def hourly_usd(self, disk_gb: int) -> Decimal:
        """What an hour is billed at, the disk included."""
        return Decimal(str(self.dph_base)) + Decimal(str(self.storage_cost)) * disk_gb / MONTH_HOURS

    def shown(self, storage_gb: float) -> dict[str, Any]:
        """As a search shows it, where the disk is so large."""
        total = float(self.hourly_usd(0)) + self.storage_cost * storage_gb / MONTH_HOURS
        about = {"direct_port_count": 4, "duration": 864_000.0, "min_bid": self.dph_base}
        return {**asdict(self), **about, "dph_total": total}


def found(offers: list[dict[str, Any]], query: Any) -> list[dict[str, Any]]:
    """The offers that a search finds, in its order. Raises Wrong where a condition is none."""
    names = {name: [dict] for name in offers[0]} if offers else {}
    expect(query, order=list, type=str, allocated_storage=float, **names)
    if query["type"] != "on-demand":
        raise Wrong("type")
    conditions = {name: wanted for name, wanted in query.items() if name in names}
    matching = [offer for offer in offers if all(_fits(offer[name], wanted) for name, wanted in conditions.items())]
    for name, direction in reversed(query["order"]):
        if direction not in ("asc", "desc"):
            raise Wrong(f"order {direction}")
        matching.sort(key=operator.itemgetter(name), reverse=direction == "desc")
    return matching


def _fits(value: Any, wanted: Mapping[str, Any]) -> bool:
    return all(_OPERATORS[name](value, _read(value, given)) for name, given in wanted.items())


def _read(value: Any, given: Any) -> Any:
    """What a condition compares with: of the type of the offer's value. Numbers may be written as texts."""
    if isinstance(given, list):
        return [_read(value, one) for one in given]
    if isinstance(value, bool) or isinstance(given, bool) or isinstance(value, str):
        if type(value) is not type(given):
            raise Wrong(f"{given!r} is compared with {value!r}")
        return given
    return float(given)
