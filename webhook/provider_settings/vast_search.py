"""Reads searches and orders of offers in Vast.ai's own syntax, ``gpu_ram>=12 num_gpus=1``, into what its API takes.

Names of fields, their aliases and units, and the conditions that hold unless others are said are those of the market's
own command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

FLAGS = frozenset({
    "datacenter", "external", "gpu_display_active", "has_avx", "rentable", "rented", "static_ip", "verified",
    "vms_enabled",
})  # fmt: skip
"""Fields that are true or false."""
TEXTS = frozenset({
    "cpu_arch", "geolocation", "gpu_arch", "gpu_name", "mobo_name", "ubuntu_version", "verification",
})  # fmt: skip
NUMBERS = frozenset({
    "bw_nvlink", "cluster_id", "compute_cap", "cpu_cores", "cpu_cores_effective", "cpu_ghz", "cpu_ram",
    "cuda_max_good", "direct_port_count", "disk_bw", "disk_space", "dlperf", "dlperf_per_dphtotal", "dph_total",
    "duration", "flops_per_dphtotal", "gpu_frac", "gpu_max_power", "gpu_max_temp", "gpu_mem_bw", "gpu_ram",
    "gpu_total_ram", "host_id", "id", "inet_down", "inet_down_cost", "inet_up", "inet_up_cost", "machine_id",
    "min_bid", "num_gpus", "pci_gen", "pcie_bw", "reliability", "storage_cost", "total_flops",
})  # fmt: skip
_ALIASES = {
    "cuda_vers": "cuda_max_good",
    "display_active": "gpu_display_active",
    "dlperf_usd": "dlperf_per_dphtotal",
    "dph": "dph_total",
    "flops_usd": "flops_per_dphtotal",
}
_UNITS = {"cpu_ram": 1_000, "gpu_ram": 1_000, "gpu_total_ram": 1_000, "duration": 86_400}
"""People write GB and days, the API takes MB and seconds."""
DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
    "rented": {"eq": False},
}
"""Conditions that hold where a search does not name the field."""
_SIGNS = {"=": "eq", "==": "eq", "!=": "neq", ">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
_WORDS = {
    "eq": "eq", "neq": "neq", "noteq": "neq", "not eq": "neq", "gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte",
    "in": "in", "notin": "notin", "nin": "notin", "not in": "notin",
}  # fmt: skip
_MOST_CONDITIONS = 50
_ANY = "any"
_BOOLEANS = {"true": True, "false": False}

_space = re.compile(r"\s*").match
_field = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").match
_operator = re.compile(
    r"\s*(?P<sign>[=!<>]+)\s*|\s+(?P<word>not\s+in|not\s+eq|[a-z]+)(?=[\s\[\"])\s*", re.IGNORECASE
).match
_value = re.compile(r'"(?P<quoted>[^"]*)"|\[(?P<list>[^\]]*)\]|(?P<bare>[^\s\[\]"]+)').match
_is_number = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?").fullmatch
_an_order = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)([+-]?)").fullmatch


class SearchError(ValueError):
    """A search or an order is wrong. The message says at which column, counted from 1, and what is expected there."""

    def __init__(self, position: int, expected: str) -> None:
        super().__init__(f"at column {position + 1}: {expected}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a search."""

    field: str
    operator: str
    value: object
    """None: any value will do."""
    position: int


def read_search(text: str) -> dict[str, dict[str, object]]:
    """The conditions of a search in the API's form, those that hold by default included. Raises SearchError."""
    read: dict[str, dict[str, object]] = {}
    for count, condition in enumerate(_conditions(text)):
        if count == _MOST_CONDITIONS:
            raise SearchError(condition.position, f"a search has at most {_MOST_CONDITIONS} conditions")
        wanted = read.setdefault(condition.field, {})
        if condition.operator in wanted:
            raise SearchError(condition.position, f"{condition.field} has another condition of this kind already")
        wanted[condition.operator] = condition.value
    whole = {**{field: dict(wanted) for field, wanted in DEFAULTS.items()}, **read}
    return {field: wanted for field, wanted in whole.items() if None not in wanted.values()}


def read_order(text: str) -> list[list[str]]:
    """An order, ``dph+,inet_down-``, as pairs of a field and ``asc`` or ``desc``. Raises SearchError."""
    read: list[list[str]] = []
    position = 0
    for part in text.split(","):
        found = _an_order(part.strip())
        if found is None:
            raise SearchError(position, "a field and + or - are expected: dph+")
        read.append([_known(found[1], position), "desc" if found[2] == "-" else "asc"])
        position += len(part) + 1
    return read


def _conditions(text: str) -> Iterator[Condition]:
    position = _after_space(text, 0)
    while position < len(text):
        condition, position = _condition(text, position)
        yield condition
        end, position = position, _after_space(text, position)
        if end == position < len(text):
            raise SearchError(end, "a space is expected before the next condition")


def _condition(text: str, start: int) -> tuple[Condition, int]:
    name = _field(text, start)
    if name is None:
        raise SearchError(start, "the name of a field is expected: gpu_ram>=12")
    field = _known(name[0], start)
    operator, position = _operator_of(text, name.end(), field)
    found = _value(text, position)
    if found is None:
        raise SearchError(position, f"a value for {field} is expected, a list as [1,2]")
    return Condition(field, operator, _read_value(field, operator, found), start), found.end()


def _operator_of(text: str, position: int, field: str) -> tuple[str, int]:
    found, start = _operator(text, position), _after_space(text, position)
    operator = _read_operator(found) if found else None
    if found is None or operator is None:
        raise SearchError(start, f"an operator is expected after {field}: = != < <= > >= in notin")
    if operator not in _operators(field):
        raise SearchError(start, f"{field} can be compared by: {', '.join(sorted(_operators(field)))}")
    return operator, found.end()


def _read_operator(found: re.Match[str]) -> str | None:
    if found["sign"]:
        return _SIGNS.get(found["sign"])
    return _WORDS.get(" ".join(found["word"].lower().split()))


def _operators(field: str) -> frozenset[str]:
    if field in FLAGS:
        return frozenset({"eq", "neq"})
    return frozenset({"eq", "neq", "in", "notin"} | ({"gt", "gte", "lt", "lte"} if field in NUMBERS else set()))


def _read_value(field: str, operator: str, found: re.Match[str]) -> object:
    if operator in ("in", "notin"):
        return _read_list(field, found)
    if found["list"] is not None:
        raise SearchError(found.start(), f"one value for {field} is expected, not a list: lists go with in and notin")
    if found["bare"] == _ANY and operator == "eq":
        return None
    return _read_one(field, found[0], found.start())


def _read_list(field: str, found: re.Match[str]) -> list[object]:
    if found["list"] is None:
        raise SearchError(found.start(), f"a list is expected: {field} in [1,2]")
    position, values = found.start("list"), []
    for part in found["list"].split(","):
        values.append(_read_one(field, part.strip(), position))
        position += len(part) + 1
    return values


def _read_one(field: str, text: str, position: int) -> object:
    kind: Callable[[str, str, int], object]
    kind = _read_flag if field in FLAGS else _read_text if field in TEXTS else _read_number
    return kind(field, text, position)


def _read_flag(field: str, text: str, position: int) -> bool:
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise SearchError(position, f"{field} is true, false or any, not {text!r}")
    return value


def _read_text(field: str, text: str, position: int) -> str:
    # As on the market's command line: a word has no spaces, so RTX_3090 stands for "RTX 3090".
    value = text[1:-1] if text.startswith('"') and text.endswith('"') else text.replace("_", " ")
    if not value.strip():
        raise SearchError(position, f"a value for {field} is expected")
    return value


def _read_number(field: str, text: str, position: int) -> str | float:
    if not _is_number(number := text.strip('"')):
        raise SearchError(position, f"{field} is a number, not {text!r}")
    return float(number) * _UNITS[field] if field in _UNITS else number


def _known(name: str, position: int) -> str:
    field = _ALIASES.get(name, name)
    if field not in FLAGS | TEXTS | NUMBERS:
        raise SearchError(position, f"the market has no field {name!r}{_meant(name)}")
    return field


def _meant(name: str) -> str:
    alike = get_close_matches(name.lower(), [*FLAGS, *TEXTS, *NUMBERS, *_ALIASES], n=1)
    return f": is {alike[0]} meant?" if alike else ""


def _after_space(text: str, position: int) -> int:
    found = _space(text, position)
    assert found is not None, "no space is a match too"
    return found.end()
