"""Checks the providers that pools name, and whether budgets can carry a machine: a part of ``yurt check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from webhook.check import Finding
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.fleet.open_providers import ASK_SECONDS, ask_for_findings, ask_for_labels, open_providers
from webhook.fleet.providers import Provider, ProviderFinding
from webhook.fleet.reach import ADVICE, out_of_reach
from webhook.fleet.strangers import ADVICE as ADVICE_ON_STRANGERS
from webhook.ledger.costs import reserve_usd
from webhook.ledger.installation import installation_id
from webhook.ledger.machines import Terms, installation_of
from webhook.pool_settings import Pool
from webhook.secret_settings import Secrets
from webhook.usd import exact


async def provider_findings(config: Config, secrets: Secrets) -> list[Finding]:
    """Run all checks of providers. Rents nothing."""
    try:
        async with open_providers(config, secrets) as providers:
            found = await findings_of(config, providers)
            found += await strangers_of(config, providers, await _own_id(secrets))
    except ConfigError as error:
        found = [Finding("providers", "failed", str(error))]
    return [*found, *_reach(config), *_budgets(config)]


async def findings_of(config: Config, providers: Mapping[str, Provider], seconds: float = ASK_SECONDS) -> list[Finding]:
    """What each provider finds that some pool names."""
    names = _named(config)
    answers = await ask_for_findings(names, providers, seconds)
    return [_finding(name, found) for name, answer in zip(names, answers, strict=True) for found in answer]


async def strangers_of(
    config: Config, providers: Mapping[str, Provider], own_id: str, seconds: float = ASK_SECONDS
) -> list[Finding]:
    """At which providers another installation of the same name has machines.

    Where ``own_id`` is empty, since the ledger does not answer, two ids at one provider tell it.
    """
    names = _named(config)
    answers = await ask_for_labels(names, providers, seconds)
    found = ((name, _strangers(labels, own_id)) for name, labels in zip(names, answers, strict=True))
    return [_contested(config, name, labels) for name, labels in found if labels]


def _strangers(labels: Sequence[str], own_id: str) -> list[str]:
    others = [label for label in labels if installation_of(label) not in ("", own_id)]
    return others if own_id or len({installation_of(label) for label in others}) > 1 else []


def _contested(config: Config, name: str, labels: Sequence[str]) -> Finding:
    message = (
        f'another installation named "{config.server.name}" rents {len(labels)} machines there, {labels[0]} for one'
    )
    return Finding(f"provider {name}", "failed", message, ADVICE_ON_STRANGERS)


async def _own_id(secrets: Secrets) -> str:
    dsn = secrets.direct_database_url.get_secret_value() or secrets.database_url.get_secret_value()
    return await installation_id(dsn) if dsn else ""


def _named(config: Config) -> list[str]:
    """The providers that pools name."""
    return [*dict.fromkeys(name for pool in config.pools.values() for name in pool.provider_names)]


def _finding(name: str, found: ProviderFinding) -> Finding:
    return Finding(f"provider {name}", "ok" if found.ok else "failed", found.message, found.hint)


def _reach(config: Config) -> list[Finding]:
    why = out_of_reach(config, config.server.public_url)
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
