"""Machines reached by ssh keep the provider's contract, through the exec provider, a fake ssh and a real sshd."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.infra.exec.ssh_place import SSHD, real_sshd, ssh_place
from tests.webhook.fleet.providers.contract import CHECKS, TOKEN, Check, labels, listed, mint, order_for
from webhook.fleet.providers import Instance, OfferGone, ProviderError, ProviderRefused
from webhook.ledger.machines import new_label


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAKE_SSH", str(tmp_path))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_machines_reached_by_ssh_keep_the_contract(check: Check, tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        await check(place)


@pytest.mark.skipif(not Path(SSHD).exists() or os.geteuid() != 0, reason="needs an sshd, and root to run it")
async def test_a_real_sshd_starts_lists_and_ends_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with real_sshd(tmp_path) as ssh:
        async with ssh_place(tmp_path, ssh=ssh, hosts=("here",)) as place:
            provider = place.provider()
            wanted = await order_for(provider)
            ref = await provider.mint(wanted)
            assert (await place.environment(wanted.label))["YURT_TOKEN"] == TOKEN
            await listed(provider, {wanted.label})
            await provider.slay(Instance(wanted.label, ref))
            await listed(provider, set())
            assert not await place.exists(wanted.label)


async def test_the_token_is_in_no_command_line_and_no_file(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        one = await mint(place.provider())
        await place.running(one.label)
        assert TOKEN not in str(place.calls())
        written = [path for path in tmp_path.rglob(f"*{one.label}*") if path.parent.name != "started"]
        assert len(written) == 3
        assert all(TOKEN not in path.read_text() for path in written)


async def test_a_full_host_withdraws_its_offer(tmp_path: Path) -> None:
    async with ssh_place(tmp_path, machines=1) as place:
        provider = place.provider()
        first, second = await order_for(provider), await order_for(provider)
        await provider.mint(first)
        with pytest.raises(OfferGone, match="1 workers run here already"):
            await provider.mint(second)
        assert [offer.id for offer in await provider.offers()] == ["localhost"]


async def test_without_an_answer_of_every_host_there_is_no_list(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        provider = place.provider()
        one = await mint(provider)
        place.knob("localhost.down")
        assert [offer.id for offer in await provider.offers()] == ["127.0.0.1"]
        with pytest.raises(ProviderError, match="localhost: ssh: connect to host localhost port 22: Connection timed"):
            await provider.list()
        with pytest.raises(ProviderError):
            await provider.slay(one)
        assert [finding.ok for finding in await provider.check()] == [True, False, False]


async def test_a_connection_lost_while_minting_leaves_a_listed_machine(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        provider = place.provider()
        wanted = await order_for(provider)
        place.knob("127.0.0.1.lost")
        with pytest.raises(OfferGone):
            await provider.mint(wanted)
        place.knob("127.0.0.1.lost", on=False)
        await listed(provider, {wanted.label})


async def test_the_log_of_a_worker_is_found_on_its_host(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        place.provider()
        home = tmp_path / "localhost/.yurt-machines"
        home.mkdir(parents=True)
        label = new_label("yurt", "photos")
        (home / f"{label}.log").write_text("no CUDA device")
        log = await place.provider().boot_log(label)
        assert log.endswith("localhost: no CUDA device")
        assert await place.provider().boot_log(new_label("yurt", "photos")) == ""


async def test_a_missing_program_on_the_host_is_refused(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        provider = place.provider()
        wanted = await order_for(provider)
        file = tmp_path / "hosts.toml"
        file.write_text(file.read_text().replace("worker = [", 'worker = ["no-such-program", '))
        with pytest.raises(ProviderRefused, match="there is no no-such-program on the host"):
            await provider.mint(wanted)


async def test_a_wrong_file_of_hosts_is_named(tmp_path: Path) -> None:
    async with ssh_place(tmp_path) as place:
        (tmp_path / "hosts.toml").write_text('[hosts.anna]\naddress = "anna"\n')
        with pytest.raises(ProviderRefused, match="'usd_per_hour' is missing"):
            await place.provider().offers()


async def test_workers_minted_at_once_never_exceed_the_host(tmp_path: Path) -> None:
    async with ssh_place(tmp_path, hosts=("localhost",), machines=2) as place:
        provider = place.provider()
        orders = [await order_for(provider) for _ in range(4)]
        minted = await asyncio.gather(*map(provider.mint, orders), return_exceptions=True)
        assert sum(isinstance(each, str) for each in minted) == 2
        shown = labels(await provider.list())
        assert shown == {each.label for each, ref in zip(orders, minted, strict=True) if isinstance(ref, str)}
