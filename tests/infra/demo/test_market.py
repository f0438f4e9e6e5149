"""The demo on a pretend market: the whole of it as a process, and what its bill finds wrong."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.demo.market import LEAST_RATIO, MOST_RATIO, MarketBill, demo_market, market_overrides
from infra.market.contracts import BookEntry
from infra.market.running import running
from tests.infra.demo.fixtures import REPORT_KEYS
from tests.processes import yurt
from webhook.config_file import load
from webhook.provider_settings import VastSettings
from workers.handlers.registry import options_model


@pytest.mark.slow
def test_thirty_photos_are_processed_by_rented_machines_and_the_bill_is_right(tmp_path: Path) -> None:
    with yurt("demo", "--market", "--json", "--folder", str(tmp_path / "demo"), cwd=tmp_path) as demo:
        status = demo.ended(seconds=200)
        assert status == 0, demo.output()
        assert demo.left() == []
    report = json.loads(demo.out[-1])
    assert list(report) == [*REPORT_KEYS, "bill"]
    assert (report["verified"], report["done"], report["parked"]) == (True, 28, 2)
    assert report["minted"] == report["slain"] == len(report["bill"]["machines"]) >= 3
    assert_adds_up(report["bill"])
    printed = "".join(demo.err)
    for words in ("a pretend market rents out machines", "The market's books", "costs ÷ books", "Verified"):
        assert words in printed


def assert_adds_up(bill: Mapping[str, Any]) -> None:
    """Traffic to the cent; by the hour no less than the market, and in all within a hundredth.

    Both follow from how machines are counted, see ``infra/demo/market.py``: no time that a test takes decides it.
    """
    hourly, traffic = (sum(Decimal(one[f"{of}_usd"]) for one in bill["machines"]) for of in ("hourly", "traffic"))
    assert 0 <= Decimal(bill["costs"].pop("once")) - traffic < Decimal("0.00001")  # rounded up for each machine
    assert sum(map(Decimal, bill["costs"].values())) >= hourly > 0
    assert Decimal(bill["books_usd"]) == hourly + traffic
    assert LEAST_RATIO <= Decimal(bill["costs_usd"]) / Decimal(bill["books_usd"]) <= MOST_RATIO


@pytest.mark.slow
def test_ctrl_c_leaves_no_machine_behind(tmp_path: Path) -> None:
    with yurt("demo", "--market", "--folder", str(tmp_path / "demo"), cwd=tmp_path) as demo:
        demo.until_printed(r"leased [1-9]")
        demo.note_descendants()
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 130, demo.output()
        assert demo.left() == []
        assert "Traceback" not in demo.output()


PIPELINE = '[pipelines.a]\ninput = "s3://ups/"\noutput = "s3://outs/"\npool = "mine"\n[pools.mine]\n'


@pytest.mark.parametrize("named", ["", 'provider = "local"', 'providers = ["local"]\nmax_usd_per_hour = 0'])
def test_the_control_plane_is_told_to_rent_there(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yurt.toml").write_text(PIPELINE + named)
    before = load(tmp_path / "yurt.toml", options_model)
    with running(demo_market(), "yurt", tmp_path / "market") as market:
        for name, value in market_overrides(market, "mine", before.pools["mine"]).items():
            monkeypatch.setenv(name, value)
        config = load(tmp_path / "yurt.toml", options_model)
    settings = config.providers["market"]
    assert isinstance(settings, VastSettings)
    assert settings.same_machine
    pool = config.pools["mine"]
    assert (pool.provider_names, pool.max_usd_per_hour) == (("market",), Decimal(1))


def bill(**given: Any) -> MarketBill:
    entry = BookEntry(7, "yurt-a-1", 501, Decimal("0.01"), Decimal("0.002"), Decimal("0.1"))
    right = {"costs": {"once": Decimal("0.1"), "work": Decimal("0.002")}, "books": [entry], "living": 0}
    return MarketBill(**{**right, "faults_met": {"an offer is gone": True}, "wrong_requests": (), **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"costs": {"once": Decimal("0.1"), "work": Decimal("0.0035")}}, "yurt counts 0.1035 $, the market 0.1020 $"),
        ({"costs": {"once": Decimal("0.1"), "work": Decimal("0.0019")}}, "less than the market's 0.002000 $"),
        ({"books": []}, "yurt counts 0.1020 $, the market 0.0000 $"),
        ({"living": 1}, "1 machines are rented still"),
        ({"wrong_requests": ("PUT /x: no",)}, "the market was sent what it does not take: PUT /x: no"),
        ({"faults_met": {"an offer is gone": False}}, "it was not met that an offer is gone"),
    ],
)
def test_each_fault_of_a_bill_is_named(given: dict[str, Any], said: str) -> None:
    assert list(bill().problems()) == []
    assert any(said in problem for problem in bill(**given).problems())


def test_the_bill_shows_both_sides() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(bill().summary())
    printed = console.export_text()
    for words in ("yurt-a-1", "36.0", "0.10200", "costs ÷ books", "1.0000"):
        assert words in printed
