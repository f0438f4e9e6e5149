"""Two installations of one name on one account: neither touches the other's machines, and both say what to do."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.webhook.fleet.cloud_fleet import Cloud, CloudFleet, list_fails, pool
from webhook.fleet.providers import Instance
from webhook.fleet.strangers import CONTESTED, MOST_NOTED
from webhook.ledger.machines import new_label

OTHER = "99999999"


def add(cloud: Cloud, installation: str = OTHER) -> str:
    label = new_label("yurt", "a", installation)
    cloud.there[label] = Instance(label, f"ref-{label}")
    return label


async def test_anothers_machine_is_left_alone_and_nothing_is_minted_beside_it() -> None:
    it = CloudFleet()
    label = add(it.cloud)
    await it.fleet.upload("a", 2)
    with capture_logs() as logs:
        await it.turns(5)
    assert not it.cloud.slain
    assert not it.cloud.orders
    assert it.status.not_minted.endswith(CONTESTED)
    [line] = [line for line in logs if line["event"] == "another installation"]
    assert (line["log_level"], line["label"], line["machines"]) == ("error", label, 1)
    assert [stranger.label for stranger in it.fleet.strangers["cloud"]] == [label]


async def test_once_it_is_gone_machines_are_minted() -> None:
    it = CloudFleet()
    label = add(it.cloud)
    await it.fleet.upload("a", 1)
    await it.turns(2)
    del it.cloud.there[label]
    await it.turns(2)
    assert len(it.cloud.orders) == 1
    assert it.fleet.strangers["cloud"] == []
    assert it.status.not_minted == ""


async def test_machines_that_are_there_go_on_and_end_beside_it() -> None:
    it = CloudFleet(pool(provider="cloud", idle_seconds=5))
    [row] = await it.ready(1)
    add(it.cloud)
    await it.turns(2)
    assert await it.fleet.take(row.id, 1) == 1
    await it.fleet.settle(row.id)
    await it.turns(12)
    assert it.cloud.slain == [row.label]
    assert not await it.fleet.machines()


async def test_what_is_unknown_of_its_own_id_or_without_one_is_slain() -> None:
    it = CloudFleet()
    own, before, other = add(it.cloud, it.fleet.id), add(it.cloud, ""), add(it.cloud)
    await it.turns(1)
    assert sorted(it.cloud.slain) == sorted([own, before])
    assert list(it.cloud.there) == [other]


async def test_an_operator_has_one_slain() -> None:
    it = CloudFleet()
    mine, other = add(it.cloud), add(it.cloud)
    await it.turns(1)
    assert await it.fleet.slay_stranger(mine)
    await it.turns(2)
    assert it.cloud.slain == [mine]
    assert list(it.cloud.there) == [other]


async def test_a_list_that_fails_changes_nothing_of_what_is_known() -> None:
    it = CloudFleet()
    label = add(it.cloud)
    await it.turns(1)
    it.cloud.on_list = list_fails
    await it.fleet.upload("a", 1)
    await it.turns(2)
    assert [stranger.label for stranger in it.fleet.strangers["cloud"]] == [label]
    assert not it.cloud.orders


async def test_what_an_earlier_process_noted_is_forgotten_once_it_is_gone() -> None:
    it = CloudFleet()
    label = add(it.cloud)
    await it.turns(1)
    del it.cloud.there[label]
    it.start({"a": pool(provider="cloud")})
    await it.turns(1)
    assert it.fleet.strangers["cloud"] == []


async def test_only_so_many_are_noted() -> None:
    it = CloudFleet()
    for _ in range(MOST_NOTED + 5):
        add(it.cloud)
    await it.turns(1)
    assert len(it.fleet.strangers["cloud"]) == MOST_NOTED
