"""Machines at addresses: DirectMachines and MachineReach, with a worker's real gate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.polling import until
from tests.workers.servers.running import free_port
from tests.workers.services.answering import TOKEN, answering, order, request, whole
from webhook.ledger.services import ServingMachine
from webhook.proxy import direct_machine
from webhook.proxy.direct_machine import DirectMachines, may_be_dialled
from webhook.proxy.exchange import MachineLost
from workers.services.ways import open_gate

MACHINE = ServingMachine(
    service="echo", worker_id=1, label="m", pool="local", state="ready", message="", log="", address="",
    draining=False, held=0, own_slots=(), replicas=(), urls=(), unused_seconds=0,
)  # fmt: skip


@contextlib.asynccontextmanager
async def gate(port: int) -> AsyncIterator[None]:
    async with answering() as requests, open_gate(order(way="direct", direct_port=port, direct_token=TOKEN), requests):
        yield


async def test_requests_share_a_connection_and_another_is_opened_where_it_broke() -> None:
    port, machines = free_port(), DirectMachines()
    machine = machines.machine(f"http://127.0.0.1:{port}", TOKEN)
    assert machines.machine(f"http://127.0.0.1:{port}", TOKEN) is machine

    async def ask() -> bytes:
        async with machine.exchange(request()) as answer:
            return await whole(answer.body)

    for _ in range(2):
        async with gate(port):
            assert await asyncio.gather(*(ask() for _ in range(20))) == [b"ok"] * 20
        await until(lambda: machines.machine(f"http://127.0.0.1:{port}", TOKEN) is not machine or True)
    with pytest.raises(MachineLost, match="cannot be connected") as caught:
        await ask()
    assert caught.value.unsent
    await machines.aclose()


async def test_a_wrong_token_is_a_machine_that_has_not_seen_the_request() -> None:
    port, machines = free_port(), DirectMachines()
    async with gate(port):
        with pytest.raises(MachineLost, match="401") as caught:
            async with machines.machine(f"http://127.0.0.1:{port}", "another").exchange(request()):
                pytest.fail("answered")
        assert caught.value.unsent
    await machines.aclose()


async def test_a_connection_that_nothing_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_machine, "IDLE_SECONDS", 0.05)
    port, machines = free_port(), DirectMachines()
    address = f"http://127.0.0.1:{port}"
    async with gate(port):
        machine = machines.machine(address, TOKEN)
        async with machine.exchange(request()) as answer:
            assert await whole(answer.body) == b"ok"
        await until(lambda: machines.machine(address, TOKEN) is not machine, failure="it is kept")
    await machines.aclose()


@pytest.mark.parametrize(
    ("address", "local", "may"),
    [
        ("http://203.0.113.9:40123", False, True),
        ("https://10.0.0.5:443", False, True),
        ("http://127.0.0.1:80", False, False),
        ("http://127.0.0.1:80", True, True),
        ("http://[::1]:80", False, False),
        ("http://169.254.169.254:80", True, False),
        ("http://0.0.0.0:80", True, False),
        ("http://metadata.internal:80", True, False),
        ("http://203.0.113.9:0", False, False),
        ("http://[::ffff:127.0.0.1]:80", False, False),
        ("http://[::ffff:169.254.169.254]:80", True, False),
        ("http://[64:ff9b::7f00:1]:80", False, False),
        ("http://[2002:7f00:1::]:80", False, False),
        ("http://[2001:db8::1]:80", False, True),
        ("http://203.0.113.9:80/internal", False, False),
        ("http://203.0.113.9:80/?x=1", False, False),
        ("http://x@203.0.113.9:80", False, False),
        ("http://203.0.113.9:99999", False, False),
    ],
)
def test_a_worker_cannot_send_the_control_plane_anywhere(address: str, local: bool, may: bool) -> None:
    assert may_be_dialled(address, local=local) is may
    way = DirectMachines().way(replace(MACHINE, address=address), TOKEN, local=local)
    assert (way is not None) is may


def test_there_is_no_way_to_a_machine_whose_server_is_not_ready() -> None:
    machines, address = DirectMachines(), "http://203.0.113.9:1"
    assert machines.way(replace(MACHINE, address=address, state="starting"), TOKEN, local=False) is None
    assert machines.way(MACHINE, TOKEN, local=False) is None
