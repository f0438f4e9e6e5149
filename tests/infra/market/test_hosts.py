"""Instances that run are processes, and processes that end are instances that have exited."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from infra.market.contracts import MarketContract
from infra.market.exchange import ApiRequest
from infra.market.hosts import MarketHosts
from infra.market.market import Market
from infra.market.offers import MarketOffer
from tests.polling import until

WORKER = (sys.executable, "-c", "import os, sys; print(os.environ['YURT_LABEL'], flush=True); sys.stdin.read()")
"""Prints, and ends with its lifeline."""


def market() -> Market:
    return Market([MarketOffer(n, 10 + n, 20 + n, 0.2) for n in range(1, 4)])


def rented(of: Market, offer: int) -> MarketContract:
    environment = {
        "YURT_URL": "http://127.0.0.1:1",
        "YURT_TOKEN": "token",
        "YURT_LABEL": f"yurt-a-{offer}",
        "HF_HUB_OFFLINE": "1",
    }
    about = {"runtype": "args", "args": ["worker"], "cancel_unavail": True}
    body = {"image": "yurt:1", "disk": 8, "label": f"yurt-a-{offer}", "env": environment, **about}
    made = of.answer(ApiRequest("PUT", f"/v0/asks/{offer}/", {}, {}, body)).value["new_contract"]
    return of.contracts[made]


async def test_an_instance_runs_as_a_process_until_it_is_destroyed(tmp_path: Path) -> None:
    one = market()
    async with MarketHosts(one, "yurt", tmp_path, argv=WORKER).running():
        contract = rented(one, 1)
        await until((tmp_path / str(contract.id) / "yurt-a-1.pid").exists)
        one.end(contract)
        await until(lambda: not (tmp_path / str(contract.id) / "yurt-a-1.pid").exists())
        assert contract.state(one.clock()) == "running", "it was destroyed, and did not exit"


async def test_a_process_that_dies_is_an_instance_that_has_exited_with_its_log(tmp_path: Path) -> None:
    one = market()
    async with MarketHosts(one, "yurt", tmp_path, argv=WORKER).running():
        contract = rented(one, 1)
        log = tmp_path / str(contract.id) / "logs" / "yurt-a-1.log"
        await until(lambda: log.exists() and "yurt-a-1" in log.read_text())
        os.killpg(int((tmp_path / str(contract.id) / "yurt-a-1.pid").read_text()), signal.SIGKILL)
        await until(lambda: contract.state(one.clock()) == "exited")
        await until(lambda: "yurt-a-1" in one.logs.get(contract.id, ""))


async def test_a_machine_that_is_dead_or_stuck_has_no_process_and_none_is_left_at_the_end(tmp_path: Path) -> None:
    one = market()
    one.faults.dead, one.faults.never_boots = {11}, {12: "loading"}
    async with MarketHosts(one, "yurt", tmp_path, argv=WORKER).running():
        for offer in (1, 2, 3):
            rented(one, offer)
        await until(lambda: any(tmp_path.glob("*/*.pid")))
        assert [path.name for path in tmp_path.glob("*/*.pid")] == ["yurt-a-3.pid"]
    assert not list(tmp_path.glob("*/*.pid"))


async def test_an_instance_has_its_own_key_and_what_the_order_gave_it(tmp_path: Path) -> None:
    one = market()
    one.url = "http://127.0.0.1:1"
    names = ("YURT_LABEL", "YURT_SLAY_URL", "CONTAINER_ID", "CONTAINER_API_KEY", "HF_HUB_OFFLINE")
    program = f"import os, sys; print(*map(os.environ.get, {names}), flush=True); sys.stdin.read()"
    async with MarketHosts(one, "yurt", tmp_path, argv=(sys.executable, "-c", program)).running():
        contract = rented(one, 1)
        log = tmp_path / str(contract.id) / "logs" / "yurt-a-1.log"
        expected = f"yurt-a-1 http://127.0.0.1:1/api/v0 {contract.id} {contract.key} 1\n"
        await until(lambda: log.exists() and log.read_text() == expected)
