"""``yurt offers``: shows what a pool would rent now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType

from webhook.cli.deployed import configured
from webhook.cli.options import config_option, deployed_option, fail, failing
from webhook.cli.output import echo_json
from webhook.cli.terminal import EscapingConsole, finding, plain, table
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.fleet.market import ProviderOffers, RatedOffer, needed_usd
from webhook.fleet.open_providers import ask_for_offers, open_providers
from webhook.pool_settings import Pool
from webhook.rental_outlook import PoolStanding, RentalOutlook, pool_standing, rental_outlook
from webhook.secret_settings import Secrets
from webhook.secrets_file import secrets
from webhook.usd import exact
from workers import log

_SHOWN = 20
_DIGITS = 12
"""After the point, of amounts that a division may leave without an end."""


@click.command()
@config_option
@click.argument("pool")
@deployed_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all offers.")
def command(config_path: Path, pool: str, deployed: bool, url: str, as_json: bool) -> None:
    """Show what a pool would rent now, at which real price, and why the others are not taken. Rents nothing.

    Asks the providers themselves, with the configuration and the keys of this machine, and the ledger at DATABASE_URL
    which machines are avoided since they did not boot, whether the pool's limit is reached, and what the budgets have
    left. Exit status 1 where nothing would be rented.
    """
    log.configure("console")  # to stderr: standard output is the answer's
    with failing(ConfigError):
        config = configured(config_path, deployed=deployed, url=url)
        settings = _settings(config, pool)
        sources, standing = asyncio.run(_ask_all(config, secrets(config_path), pool))
    outlook = rental_outlook(settings, config.server.budget_usd_per_day, standing, sources)
    if as_json:
        echo_json(as_dict(pool, settings, outlook))
    else:
        EscapingConsole().print(render(pool, settings, outlook))
    raise SystemExit(1 if outlook.why_none else 0)


def _settings(config: Config, name: str) -> Pool:
    pool = config.pools.get(name)
    if pool is None:
        fail(f"there is no pool {name!r}; there are: {', '.join(config.pools)}")
    if not pool.is_minted:
        fail(f'pool {name} has provider = "none": people start its workers, and nothing is rented')
    return pool


async def _ask_all(config: Config, keys: Secrets, pool: str) -> tuple[list[ProviderOffers], PoolStanding]:
    dsn = keys.direct_database_url.get_secret_value() or keys.database_url.get_secret_value()
    return await asyncio.gather(_ask(config, keys, pool), pool_standing(dsn, pool, config.pools[pool].provider_names))


async def _ask(config: Config, keys: Secrets, pool: str) -> list[ProviderOffers]:
    weights_bytes = await weights_of(config, keys, pool)
    async with open_providers(config, keys) as providers:
        sources = await ask_for_offers(config.pools[pool].provider_names, providers)
    return [replace(source, weights_bytes=weights_bytes) for source in sources]


async def weights_of(config: Config, keys: Secrets, pool: str) -> int:
    """How much a machine of a pool downloads before it works.

    These are the models that its pipelines and services name, as far as they are in their buckets.
    """
    of_pool = (
        *(pipeline.models for pipeline in config.pipelines.values() if pipeline.pool == pool),
        *(service.models for service in config.services.values() if service.pool == pool),
    )
    if not (names := frozenset(chain.from_iterable(of_pool))):
        return 0
    from webhook.models.catalogue import ModelCatalogue
    from webhook.storage import open_store

    store = open_store(keys)
    try:
        catalogue = ModelCatalogue({name: config.models[name] for name in names}, store)
        await catalogue.look()
    finally:
        await store.aclose()
    return sum(ref.size for ref in catalogue.refs(names))


def as_dict(name: str, pool: Pool, outlook: RentalOutlook) -> dict[str, Any]:
    """All offers in the order in which they would be taken, and what keeps the pool from taking them, for JSON."""
    standing, sources = outlook.standing, outlook.market.sources
    return {
        "pool": name,
        "offers": [_offer(pool, offer) for offer in outlook.market.offers],
        "errors": {source.provider: source.unavailable for source in sources if source.unavailable},
        "limit": pool.limit,
        "machines": None if standing.not_known else len(standing.machines),
        "pool_budget_left_usd": _exact(outlook.pool_left_usd),
        "all_budget_left_usd": _exact(outlook.all_left_usd),
        "not_known": standing.not_known,
        "why_none": outlook.why_none,
    }


def _exact(usd: Decimal | None) -> str | None:
    return None if usd is None else exact(round(usd, _DIGITS))


def _offer(pool: Pool, one: RatedOffer) -> dict[str, str]:
    return {
        "provider": one.provider,
        "id": one.offer.id,
        "description": one.offer.description,
        "machine": one.offer.machine,
        "host": one.offer.host,
        "usd_per_hour": exact(one.offer.usd_per_hour),
        "usd_once": exact(one.usd_once),
        "real_usd_per_hour": exact(one.real_usd_per_hour),
        "needs_usd": exact(round(needed_usd(pool, one), _DIGITS)),
        "refused": one.refused,
    }


def render(name: str, pool: Pool, outlook: RentalOutlook) -> RenderableType:
    """The offers as a table, what keeps providers from making one, and the pool from taking one."""
    parts: list[RenderableType] = []
    if outlook.market.offers:
        parts.append(_table(name, pool, outlook.market.offers))
    for source in outlook.market.sources:
        if source.unavailable:
            parts.append(finding("failed", f"provider {source.provider}", source.unavailable))
        elif not source.offers:
            parts.append(finding("warning", f"provider {source.provider}", "no room: it offers nothing now"))
    if why := outlook.standing.not_known:
        parts.append(finding("warning", "ledger", f"avoided machines, limit and budgets are not known: {why}"))
    if outlook.why_none:
        parts.append(plain(f"Pool {name}: nothing would be rented now: {outlook.why_none}"))
    return Group(*parts)


def _table(name: str, pool: Pool, offers: Sequence[RatedOffer]) -> RenderableType:
    numbers = ("$/h", "once $", "real $/h")
    title = f"Offers to pool {name}, in the order in which they are taken"
    shown = table(title, "provider", "offer", *numbers, "what", "not taken because", numbers=numbers)
    for one in offers[:_SHOWN]:
        prices = (one.offer.usd_per_hour, one.usd_once, one.real_usd_per_hour)
        texts = (plain(one.offer.description or one.offer.machine), plain(one.refused))
        shown.add_row(plain(one.provider), plain(one.offer.id or "any"), *(f"{usd:.4f}" for usd in prices), *texts)
    more = f"{len(offers) - _SHOWN} more with --json. " if len(offers) > _SHOWN else ""
    shown.caption = f"{more}real: what is paid once spread over life_hours ({pool.life_hours:g})"
    return shown
