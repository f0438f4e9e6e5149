"""The demo's pretend market: what it offers, what goes wrong there, and the bill at the end.

Yurt counts a machine from its intent until a list no longer shows it, the market from the order until it is destroyed:
by the hour Yurt never counts less, and some seconds more. A machine of the demo lives for less than a minute, so that
nearly all of its price is the traffic of its image, as at the real market: beside that a few seconds more are far below
a hundredth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
from rich.console import Group, RenderableType
from rich.table import Table

from infra.market.contracts import BookEntry
from infra.market.limits import RateLimits
from infra.market.market import Market
from infra.market.offers import MarketOffer
from infra.market.running import RunningMarket
from infra.stack import Stack
from webhook.fleet.providers.vast_api import PRETEND_SCALE
from webhook.pool_settings import Pool
from webhook.usd import exact

PROVIDER = "market"
LEAST_RATIO, MOST_RATIO = Decimal("0.99"), Decimal("1.01")
"""Between which costs ÷ books has to be."""
_IMAGE_GB = Decimal(2)
_TRAFFIC_USD = 0.05
"""Of a GB."""
_OFFERS = [
    MarketOffer(4001 + n, 501 + n, 901 + n, round(0.20 + 0.01 * n, 2), inet_down_cost=_TRAFFIC_USD) for n in range(10)
]
_GONE, _NEVER_BOOTS, _UNANSWERED = _OFFERS[:3]
"""The cheapest, which are taken first."""
_MACHINES = 3
_TIMEOUT_SECONDS = 10.0


def demo_market(weights_bytes: int = 0) -> Market:
    """Make a market where one offer is gone, one machine never boots, and one order is not answered.

    ``weights_bytes`` is what the models that each machine downloads have, which is billed as at the real market.
    """
    traffic_gb = _IMAGE_GB + Decimal(weights_bytes) / 10**9
    market = Market(_OFFERS, limits=RateLimits(PRETEND_SCALE), boot_seconds=1.5, traffic_gb=traffic_gb)
    market.faults.taken = {_GONE.id}
    market.faults.never_boots = {_NEVER_BOOTS.machine_id: "loading"}
    market.faults.unanswered = {_UNANSWERED.machine_id}
    return market


def market_overrides(running: RunningMarket, name: str, pool: Pool) -> dict[str, str]:
    """Variables by which a control plane rents a pool's machines there."""
    prefix, here = f"YURT_PROVIDERS__{PROVIDER.upper()}__", f"YURT_POOLS__{name.upper()}__"
    # In place of what the pool has: it may not have both.
    named = {"PROVIDERS": f'["{PROVIDER}"]'} if pool.providers else {"PROVIDER": PROVIDER}
    return {
        **{f"{here}{field}": value for field, value in named.items()},
        "VAST_API_KEY": running.key,
        f"{prefix}KIND": "vast",
        f"{prefix}IMAGE": "registry.example.com/yurt:demo",
        f"{prefix}SEARCH": "verified=any gpu_ram>=12 num_gpus=1 inet_down>=450",
        f"{prefix}IMAGE_GB": str(_IMAGE_GB),
        f"{prefix}API_URL": running.api_url,
        f"{here}LIMIT": str(_MACHINES),
        f"{here}MAX_USD_PER_HOUR": "1",
        f"{here}BUDGET_USD_PER_DAY": "5",
        f"{here}MINT_SECONDS": "10",
        f"{here}BOOT_SECONDS": "20",
        # Two photos are broken on purpose. One machine says so, since there may be no second one at the end.
        f"{here}TRUSTED": "true",
    }


@dataclass(frozen=True, slots=True)
class MarketBill:
    """What Yurt has counted, beside the books of the market. Amounts in US dollars."""

    costs: Mapping[str, Decimal]
    """By what it was paid for: ``work``, ``idle``, ``boot``, ``once``."""
    books: Sequence[BookEntry]
    faults_met: Mapping[str, bool]
    """Whether each fault of the market was met."""
    wrong_requests: Sequence[str]
    """That the market would not take."""
    living: int
    """Instances that are not destroyed."""

    @property
    def costs_usd(self) -> Decimal:
        """All that Yurt has counted."""
        return sum(self.costs.values(), Decimal(0))

    @property
    def books_usd(self) -> Decimal:
        """All that the market charges."""
        return sum((entry.usd for entry in self.books), Decimal(0))

    @property
    def ratio(self) -> Decimal:
        """Costs ÷ books; 0: the books are empty."""
        return self.costs_usd / self.books_usd if self.books_usd else Decimal(0)

    def problems(self) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if not LEAST_RATIO <= self.ratio <= MOST_RATIO:
            yield f"yurt counts {self.costs_usd:.4f} $, the market {self.books_usd:.4f} $"
        hours = self.costs_usd - self.costs.get("once", Decimal(0))
        if hours < (charged := sum((entry.hourly_usd for entry in self.books), Decimal(0))):
            yield f"by the hour yurt counts {hours:.6f} $, which is less than the market's {charged:.6f} $"
        if self.living:
            yield f"{self.living} machines are rented still"
        yield from (f"the market was sent what it does not take: {one}" for one in self.wrong_requests)
        yield from (f"it was not met that {fault}" for fault, met in self.faults_met.items() if not met)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: exact amounts as texts."""
        return {
            "costs_usd": exact(self.costs_usd),
            "books_usd": exact(self.books_usd),
            "ratio": f"{self.ratio:.4f}",
            "costs": {phase: exact(usd) for phase, usd in self.costs.items()},
            "machines": [
                {
                    "label": one.label,
                    "machine": one.machine_id,
                    "hourly_usd": exact(one.hourly_usd),
                    "traffic_usd": exact(one.traffic_usd),
                }
                for one in self.books
            ],
        }

    def summary(self) -> RenderableType:
        """The tables of the bill."""
        return Group(self._books(), self._compared())

    def _books(self) -> Table:
        table = Table(title="The market's books", title_justify="left", title_style="bold")
        table.add_column("machine", no_wrap=True)
        for heading in ("seconds", "by the hour $", "traffic $", "in all $"):
            table.add_column(heading, justify="right")
        for one in self.books:
            amounts = (f"{usd:.5f}" for usd in (one.hourly_usd, one.traffic_usd, one.usd))
            table.add_row(one.label, f"{one.hours * 3600:.1f}", *amounts)
        return table

    def _compared(self) -> Table:
        table = Table(title="The bill", title_justify="left", title_style="bold", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_column(style="dim")
        for phase, usd in sorted(self.costs.items()):
            table.add_row(f"yurt costs: {phase}", f"{usd:.5f} $", _MEANS.get(phase, ""))
        table.add_row("yurt costs", f"{self.costs_usd:.5f} $", "from each intent until the list no longer shows it")
        table.add_row("the market's books", f"{self.books_usd:.5f} $", "from each order until it was destroyed")
        table.add_row("costs ÷ books", f"{self.ratio:.4f}", f"has to be {LEAST_RATIO} to {MOST_RATIO}")
        return table


_MEANS = {
    "once": "traffic of image and models, for each machine",
    "boot": "until the machines called home",
    "work": "photos",
    "idle": "machines without work",
}


def take_bill(stack: Stack, running: RunningMarket) -> MarketBill:
    """Ask the control plane what was spent, and look into the market's books. Raises httpx.HTTPError."""
    token = {"authorization": f"Bearer {stack.keys.admin}"}
    answer = httpx.get(f"{stack.url}/v1/costs", headers=token, timeout=_TIMEOUT_SECONDS, trust_env=False)
    answer.raise_for_status()
    costs: dict[str, Decimal] = {}
    for row in answer.json()["costs"]:
        costs[row["phase"]] = costs.get(row["phase"], Decimal(0)) + Decimal(row["usd"])
    market = running.market
    rented = {contract.offer.machine_id for contract in market.contracts.values()}
    met = {
        "an offer is gone": _GONE.id in market.refused,
        "a machine never boots": _NEVER_BOOTS.machine_id in rented,
        "an order is not answered": not market.faults.unanswered,
    }
    return MarketBill(costs, market.books(), met, tuple(running.server.wrong), len(market.living()))
