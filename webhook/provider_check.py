"""Checks the providers that pools name, and whether budgets can carry a machine: a part of ``yurt check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from webhook.check import Finding
from webhook.config import Config, ConfigError
from webhook.fleet.open_providers import ASK_SECONDS, ask_for_findings, open_providers
from webhook.fleet.providers import Provider, ProviderFinding
from webhook.fleet.reach import ADVICE, out_of_reach
from webhook.ledger.costs import reserve_usd
from webhook.ledger.machines import Terms
from webhook.pool_settings import Pool
from webhook.secret_settings import Secrets
from webhook.usd import exact


async def provider_findings(config: Config, secrets: Secrets) -> list[Finding]:
    """Run all checks of providers. Rents nothing."""
    try:
        async with open_providers(config, secrets) as providers:
            found = await findings_of(config, providers)
    except ConfigError as error:
        found = [Finding("providers", "failed", str(error))]
    return [*found, *_reach(config), *_budgets(config)]


async def findings_of(config: Config, providers: Mapping[str, Provider], seconds: float = ASK_SECONDS) -> list[Finding]:
    """What each provider finds that some pool names."""
    names = [*dict.fromkeys(name for pool in config.pools.values() for name in pool.provider_names)]
    answers = await ask_for_findings(names, providers, seconds)
    return [_finding(name, found) for name, answer in zip(names, answers, strict=True) for found in answer]


def _finding(name: str, found: ProviderFinding) -> Finding:
    return Finding(f"provider {name}", "ok" if found.ok else "failed", found.message, found.hint)


def _reach(config: Config) -> list[Finding]:
    why = out_of_reach(config)
    return [Finding("public URL", "failed", why, ADVICE)] if why else []


def _budgets(config: Config) -> Iterator[Finding]:
    for name, pool in config.pools.items():
        budgets = {
            f"pools.{name}.budget_usd_per_day": pool.budget_usd_per_day,
            "server.budget_usd_per_day": config.server.budget_usd_per_day,
        }
        needed = _needed_usd(pool)
        for setting, usd in budgets.items():
            if usd is not None and needed and usd < needed:
                yield _too_small(name, setting, usd, needed)


def _needed_usd(pool: Pool) -> Decimal:
    """What the budget has to have left for one machine at the highest price that the pool takes; 0: not known."""
    if not pool.is_minted or pool.max_usd_per_hour is None:
        return Decimal(0)
    return reserve_usd(Terms(pool.max_usd_per_hour, reserve_seconds=pool.reserve_seconds))


def _too_small(name: str, setting: str, usd: Decimal, needed: Decimal) -> Finding:
    return Finding(
        f"pool {name}", "warning",
        f"{setting} ({exact(usd)}) is less than a machine at max_usd_per_hour can cost until it is gone: "
        f"{exact(needed.quantize(Decimal('0.0001')))}",
        "A machine of that price is never minted. Raise the budget, or lower max_usd_per_hour or drain_seconds.",
    )  # fmt: skip
