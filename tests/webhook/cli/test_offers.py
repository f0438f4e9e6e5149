"""``yurt offers`` shows what would be rented, and why the rest would not. It rents nothing."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from tests import postgres
from tests.infra.local.running import KEYS, RunningBucket
from tests.sources import ROOT
from tests.webhook.models.stored import published
from tests.webhook.rentals import fleet_on, rent
from webhook.cli.offers import as_dict, render, weights_of
from webhook.config_file import load
from webhook.fleet.market import ProviderOffers
from webhook.fleet.providers import Offer
from webhook.pool_settings import Pool
from webhook.rental_outlook import PoolStanding, rental_outlook
from webhook.secrets_file import secrets
from workers.handlers.registry import options_model

CONFIG = """
[pipelines.photos]
input = "s3://photos-in/"
output = "s3://photos-out/"
pool = "gpu"
[providers.cheap]
kind = "local"
usd_per_hour = 0.03
[providers.dear]
kind = "local"
usd_per_hour = 0.9
[pools.gpu]
providers = ["dear", "cheap"]
max_usd_per_hour = 0.5
[pools.none]
providers = ["dear"]
max_usd_per_hour = 0.5
[pools.hand]
provider = "none"
"""


def offers(folder: Path, *argv: str, config: str = CONFIG, dsn: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "yurt.toml").write_text(config)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    environment |= {"DATABASE_URL": dsn} if dsn else {}
    command = [sys.executable, "-m", "webhook", "offers", *argv]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_what_would_be_taken_comes_first(tmp_path: Path) -> None:
    result = offers(tmp_path, "gpu")
    assert result.returncode == 0, result.stderr
    cheap, dear = (line for line in result.stdout.splitlines() if line.startswith(("cheap", "dear")))
    assert cheap.split()[:5] == ["cheap", "any", "0.0300", "0.0000", "0.0300"]
    assert "dearer than max_usd_per_hour (0.5)" in dear
    assert [path.name for path in tmp_path.iterdir()] == ["yurt.toml"], "it leaves nothing behind"


def test_as_json(tmp_path: Path) -> None:
    answer = json.loads(offers(tmp_path, "gpu", "--json").stdout)
    assert [(one["provider"], one["real_usd_per_hour"], bool(one["refused"])) for one in answer["offers"]] == [
        ("cheap", "0.03", False), ("dear", "0.9", True),
    ]  # fmt: skip
    assert (answer["pool"], answer["errors"], answer["why_none"]) == ("gpu", {}, "")


def test_no_offer_that_could_be_taken(tmp_path: Path) -> None:
    result = offers(tmp_path, "none")
    assert result.returncode == 1
    assert "Pool none: nothing would be rented now: dear: dearer than max_usd_per_hour (0.5)" in result.stdout


@pytest.mark.parametrize(
    ("dsn", "says"),
    [("", "DATABASE_URL is not set"), ("postgresql://yurt:secret@127.0.0.1:9/x", "the database does not answer")],
)
def test_without_a_ledger_what_it_knows_is_said_to_be_unknown(tmp_path: Path, dsn: str, says: str) -> None:
    result = offers(tmp_path, "gpu", dsn=dsn)
    assert result.returncode == 0, result.stderr
    assert f"avoided machines, limit and budgets are not known: {says}" in " ".join(result.stdout.split())
    answer = json.loads(offers(tmp_path, "gpu", "--json", dsn=dsn).stdout)
    assert answer["not_known"].startswith(says)
    assert (answer["machines"], answer["pool_budget_left_usd"], answer["why_none"]) == (None, None, "")
    assert "secret" not in result.stdout + result.stderr


async def test_what_the_ledger_forbids_is_told(postgres_dsn: str, tmp_path: Path) -> None:
    config = CONFIG.replace("[pools.gpu]\n", "[pools.gpu]\nlimit = 2\nbudget_usd_per_day = 5\n")
    async with postgres.database(postgres_dsn) as (database, dsn):
        fleet = fleet_on(database)
        for free in (True, False):
            await rent(fleet, "gpu")
            result = await asyncio.to_thread(offers, tmp_path, "gpu", config=config, dsn=dsn)
            assert result.returncode == int(not free), result.stderr
            assert ("Pool gpu: nothing would be rented now: the pool's limit (2) is reached" in result.stdout) != free
            assert "not known" not in result.stdout
        result = await asyncio.to_thread(offers, tmp_path, "gpu", "--json", config=config, dsn=dsn)
        answer = json.loads(result.stdout)
        assert (answer["limit"], answer["machines"], answer["not_known"]) == (2, 2, "")
        assert Decimal(answer["pool_budget_left_usd"]) < 5
        assert answer["all_budget_left_usd"] is None
        assert Decimal(answer["offers"][0]["needs_usd"]) > 0
        assert answer["why_none"].startswith("the pool's limit (2) is reached: it has 2 machines")
        assert len(await fleet.machines()) == 2, "nothing was rented"


def test_pools_that_cannot_be_asked(tmp_path: Path) -> None:
    for pool, says in (("x", "there are: gpu, none, hand"), ("hand", "people start its workers")):
        result = offers(tmp_path, pool)
        assert result.returncode == 2
        assert says in result.stderr


def test_the_error_of_one_provider_stands_beside_the_offers_of_others() -> None:
    gpu = Offer("o-1", Decimal("0.2"), Decimal("0.1"), "m-1", "h-1", "1× RTX 3090")
    sources = [
        ProviderOffers("a", (), unavailable="makes no offer: the key is refused"),
        ProviderOffers("b", [gpu]),
        ProviderOffers("c", ()),
    ]
    pool = Pool(providers=("a", "b", "c"), life_hours=2)
    outlook = rental_outlook(pool, None, PoolStanding(), sources)
    console = Console(width=160, file=io.StringIO())
    console.print(render("gpu", pool, outlook))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.2500" in shown, "0.2 an hour, and 0.1 once over two hours"
    for text in ("1× RTX 3090", "provider a: makes no offer: the key is refused", "provider c: no room"):
        assert text in shown
    assert "nothing would be rented" not in shown
    answer = as_dict("gpu", pool, outlook)
    assert answer["errors"] == {"a": "makes no offer: the key is refused"}
    assert answer["why_none"] == ""


async def test_the_traffic_of_the_models_of_a_pools_pipelines_and_services_is_known(
    store: RunningBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    published(s3, bucket, tmp_path / "m", {"a.onnx": b"weights"})
    published(s3, bucket, tmp_path / "l", {"b.onnx": b"more weights"}, prefix="large")
    text = CONFIG.replace('pool = "gpu"\n', 'pool = "gpu"\nmodels = ["safety", "missing"]\n')
    models = "".join(f'[models.{name}]\nsource = "s3://{bucket}/{name}"\n' for name in ("safety", "missing", "large"))
    services = "".join(
        f'[services.{name}]\nport = 5000\npool = "{pool}"\nmodels = {served}\n'
        for name, pool, served in (("sdxl", "gpu", ["safety", "large"]), ("llm", "none", ["large"]))
    )
    (tmp_path / "yurt.toml").write_text(text + models + services)
    for name, value in {"AWS_ENDPOINT_URL_S3": store.endpoint, **KEYS}.items():
        monkeypatch.setenv(name, value)
    config, keys = load(tmp_path / "yurt.toml", options_model), secrets(tmp_path / "yurt.toml")
    assert [await weights_of(config, keys, pool) for pool in ("gpu", "none", "hand")] == [19, 12, 0]
