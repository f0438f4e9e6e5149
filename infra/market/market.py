"""A pretend market: answers the calls of Vast.ai's API that Yurt makes, worse than the real one where it is told to.

It takes no request that the real one would not be known to take, and keeps books of what each instance cost.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from infra.market.contracts import BookEntry, MarketContract
from infra.market.exchange import LOST, ApiRequest, Reply, Wrong, expect, texts
from infra.market.limits import RateLimits
from infra.market.offers import MarketOffer, found

PAGE = 25
UNAUTHORIZED = Reply(404, {"success": False, "error": "auth_error", "msg": "Invalid user key"})
"""To a bad key."""
_CALLS = {
    ("POST", "/v0/bundles/"): "search",
    ("PUT", "/v0/asks/N/"): "create",
    ("DELETE", "/v0/instances/N/"): "destroy",
    ("GET", "/v1/instances/"): "list",
    ("GET", "/v0/users/current/"): "show",
    ("PUT", "/v0/instances/request_logs/N/"): "show",
}


class MarketFaults:
    """What the market does worse than it should. Nothing, until a field is set."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        """Offers that another customer has rented. Searches show them still."""
        self.never_boots: dict[int, str] = {}
        """By machine: the state in which its instances stay."""
        self.dead: set[int] = set()
        """Machines whose instances run, and never call home."""
        self.unanswered: set[int] = set()
        """Machines whose rent is not answered, though it took effect. Each once."""
        self.errors_with_contract = 0
        """So many creations answer with an error, and make an instance nevertheless."""
        self.searches_left: int | None = None
        """Of the day."""
        self.lingers = False
        """Instances that were destroyed are listed still."""
        self.stale: Sequence[Mapping[str, Any]] | None = None
        """A list that is answered for ever."""
        self.same_page = False
        """The next page is always the same one."""


class Market:
    """One account at the market.

    Args:
        offers: What there is to rent.
        limits: How fast its calls may come.
        boot_seconds: From an instance's creation until it runs.
        traffic_gb: What each instance downloads.
        clock: Seconds that only grow.

    """

    def __init__(
        self,
        offers: Iterable[MarketOffer],
        *,
        limits: RateLimits | None = None,
        boot_seconds: float = 0.0,
        traffic_gb: Decimal = Decimal(2),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.offers = {offer.id: offer for offer in offers}
        self.refused: list[int] = []
        """Offers for which a creation came too late."""
        self.contracts: dict[int, MarketContract] = {}
        self.faults = MarketFaults()
        self.logs: dict[int, str] = {}
        """What instances have printed."""
        self.url = ""
        """Base of its own address, under which it shows logs."""
        self.page = PAGE
        self._limits = limits or RateLimits()
        self._boot_seconds = boot_seconds
        self._traffic_gb = traffic_gb
        self.clock = clock

    def answer(self, request: ApiRequest) -> Reply:
        """Answer a request with a good key. Raises Wrong where the market would not take it."""
        number = re.search(r"/(\d+)/$", request.path)
        path = re.sub(r"/\d+/$", "/N/", request.path)
        if (request.method, path) == ("GET", "/v0/instances/"):
            return Reply(410, {"success": False, "error": "gone", "msg": "use /api/v1/instances/"})
        if (kind := _CALLS.get((request.method, path))) is None:
            raise Wrong("no such call")
        if self._limits.too_fast(kind, self.clock()):
            raise Wrong(f"calls to {kind} come too fast")
        return self._answer(kind, int(number[1]) if number else 0, request)

    def answer_instance(self, key: str, request: ApiRequest) -> Reply:
        """Answer a request with another key than the account's: that of an instance may destroy it, and no more."""
        contract = next((one for one in self.contracts.values() if secrets.compare_digest(one.key, key)), None)
        if contract is None:
            return UNAUTHORIZED
        if (request.method, request.path) != ("DELETE", f"/v0/instances/{contract.id}/"):
            return Reply(403, {"success": False, "error": "forbidden", "msg": "this key is for its instance alone"})
        return self._destroy(contract.id, request.body)

    def books(self) -> list[BookEntry]:
        """What each instance was billed so far."""
        now = self.clock()
        return [contract.entry(now) for contract in self.contracts.values()]

    def living(self) -> list[MarketContract]:
        """Contracts that are not ended."""
        return [contract for contract in self.contracts.values() if contract.ended is None]

    def _answer(self, kind: str, number: int, request: ApiRequest) -> Reply:
        match kind:
            case "search":
                return self._search(request.body)
            case "create":
                return self._create(number, request.body)
            case "destroy":
                return self._destroy(number, request.body)
            case "list":
                return self._list(request.query)
        return self._request_log(number, request.body) if request.method == "PUT" else _account()

    def _search(self, query: Any) -> Reply:
        if self.faults.searches_left == 0:
            body = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search limit reached"}
            return Reply(429, body, {"X-RateLimit-Reset": "7200"})
        if self.faults.searches_left is not None:
            self.faults.searches_left -= 1
        storage = query["allocated_storage"]
        return Reply(200, {"offers": found([offer.shown(storage) for offer in self.offers.values()], query)})

    def _create(self, number: int, body: Any) -> Reply:
        _check_creation(body)
        if number not in self.offers or number in self.faults.taken:
            self.refused.append(number)
            return Reply(404, {"success": False, "error": "no_such_ask", "msg": f"ask {number} is not there"})
        contract = self._contract(self.offers.pop(number), body)
        if contract.offer.machine_id in self.faults.unanswered:
            self.faults.unanswered.discard(contract.offer.machine_id)
            return LOST
        if self.faults.errors_with_contract:
            self.faults.errors_with_contract -= 1
            failed = {"success": False, "error": "internal_error", "msg": "start failed", "new_contract": contract.id}
            return Reply(500, failed)
        return Reply(200, {"success": True, "new_contract": contract.id, "instance_api_key": contract.key})

    def _contract(self, offer: MarketOffer, body: Mapping[str, Any]) -> MarketContract:
        made = MarketContract(
            7_000_000 + len(self.contracts),
            offer,
            body,
            self.clock(),
            Decimal(str(offer.inet_down_cost)) * self._traffic_gb,
            self._boot_seconds,
            self.faults.never_boots.get(offer.machine_id),
        )
        self.contracts[made.id] = made
        return made

    def _destroy(self, number: int, body: Any) -> Reply:
        if body not in (None, {}):
            raise Wrong("a body")
        contract = self.contracts.get(number)
        if contract is None or contract.ended is not None:
            return Reply(404, {"success": False, "error": "no_such_instance", "msg": f"No instance {number}"})
        self.end(contract)
        return Reply(200, {"success": True})

    def end(self, contract: MarketContract) -> None:
        """End a contract. Its machine is on offer again, under another number."""
        contract.ended = self.clock()
        again = max([*self.offers, *(one.offer.id for one in self.contracts.values())]) + 1
        self.offers[again] = MarketOffer(**{**vars(contract.offer), "id": again})

    def _list(self, query: Mapping[str, str]) -> Reply:
        if not set(query) <= {"limit", "after_token"} or not 0 < int(query["limit"]) <= PAGE:
            raise Wrong(f"query {query}")
        if self.faults.stale is not None:
            return Reply(200, {"instances": list(self.faults.stale), "next_token": None})
        start, now = int(query.get("after_token", "0")), self.clock()
        there = [one for one in self.contracts.values() if one.ended is None or self.faults.lingers]
        page = [one.shown(now) for one in there if one.id >= start][: min(self.page, int(query["limit"]))]
        rest = [one for one in there if page and one.id > page[-1]["id"]]
        after = str(start) if self.faults.same_page else str(rest[0].id) if rest else None
        return Reply(200, {"instances": page, "next_token": after})

    def _request_log(self, number: int, body: Any) -> Reply:
        if body != {}:
            raise Wrong("a body")
        if number not in self.contracts:
            return Reply(404, {"success": False, "error": "no_such_instance", "msg": f"No instance {number}"})
        self.logs.setdefault(number, "")
        return Reply(200, {"success": True, "result_url": f"{self.url}/logs/{number}"})


def _account() -> Reply:
    return Reply(200, {"id": 1, "email": "you@example.com", "credit": 42.5, "balance": 0})


def _check_creation(body: Any) -> None:
    expect(
        body, image=str, disk=int, label=str, env=dict, runtype=str, args=list, cancel_unavail=bool, image_login=[str]
    )
    texts([*body["env"].values(), *body["args"]])
    if body["runtype"] != "args" or (body["args"] != ["worker"] and body["args"][:2] != ["python3", "-c"]):
        raise Wrong("the image's own entry point would not run")
    if body["cancel_unavail"] is not True:
        raise Wrong("a start that fails would leave a stopped instance, which is paid for")
    if body["disk"] < 8:
        raise Wrong("disk")
