"""The fly provider against a pretend Fly."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.webhook.fleet.providers.api_contract import API_CHECKS, ApiCheck
from tests.webhook.fleet.providers.contract import CHECKS, Check, labels, mint, order
from tests.webhook.fleet.providers.fake_api import Reply
from tests.webhook.fleet.providers.fly_cloud import FlyMachine, fly_place
from tests.webhook.fleet.providers.image_registry import image_registry
from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import Instance, Offer, OfferGone, ProviderError, ProviderRefused
from webhook.provider_settings.fly import FlySettings


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fly_provider_keeps_the_contract(check: Check) -> None:
    async with fly_place() as place:
        await check(place)


@pytest.mark.parametrize("check", API_CHECKS, ids=lambda check: check.__name__)
async def test_the_fly_provider_stands_what_an_api_does(check: ApiCheck) -> None:
    async with fly_place() as place:
        await check(place)


async def test_a_machine_is_what_the_settings_say() -> None:
    async with fly_place() as place:
        provider = place.provider(regions=["ams", "iad"], gpu_kind="l40s", environment={"HF_HUB_OFFLINE": "1"})
        assert [(offer.id, offer.usd_per_hour) for offer in await provider.offers()] == [
            ("ams", Decimal("0.02")),
            ("iad", Decimal("0.02")),
        ]
        wanted = order(offer=(await provider.offers())[1])
        await provider.mint(wanted)
        machine = place.machine(wanted.label)
        assert (machine.region, machine.config["env"]["HF_HUB_OFFLINE"]) == ("iad", "1")
        assert machine.config["guest"]["gpu_kind"] == "l40s"
        assert machine.config["metadata"]["yurt_label"] == wanted.label


async def test_a_machine_of_an_image_without_yurt_installs_its_worker() -> None:
    async with fly_place() as place:
        one = await mint(place.provider(bootstrap="python"))
        program, *arguments = start_command()
        assert place.machine(one.label).config["init"] == {"entrypoint": [program], "cmd": arguments}


async def test_a_creation_that_is_repeated_makes_no_second_machine() -> None:
    async with fly_place() as place:
        provider, wanted = place.provider(), order()
        await provider.mint(wanted)
        with pytest.raises(ProviderError, match="already_exists"):
            await provider.mint(wanted)
        assert len(place.cloud.machines) == 1


async def test_of_a_region_without_room_the_offer_is_gone() -> None:
    async with fly_place() as place:
        place.cloud.full = {"ams"}
        with pytest.raises(OfferGone, match="no room in ams"):
            await place.provider().mint(order(offer=Offer("ams", Decimal(1))))


async def test_an_image_that_does_not_exist_is_refused() -> None:
    async with fly_place() as place:
        with pytest.raises(ProviderRefused, match="MANIFEST_UNKNOWN"):
            await place.provider(image="missing:1").mint(order())


@pytest.mark.parametrize(
    "reply", [Reply(500), Reply(200, text=""), Reply(200, {}), Reply(200, [{}]), Reply(200, [7]), Reply(429, text="no")]
)
async def test_what_is_no_list_is_an_error(reply: Reply) -> None:
    async with fly_place() as place:
        place.cloud.fault("GET", "answer", reply)
        with pytest.raises(ProviderError):
            await place.provider().list()


@pytest.mark.parametrize(
    ("states", "running"),
    [
        (("created", "starting", "started", "stopping", "destroying"), True),
        (("stopped", "suspended", "failed", "launch_failed"), False),
    ],
)
async def test_states_that_never_get_well_do_not_run(states: Sequence[str], running: bool) -> None:
    async with fly_place() as place:
        provider = place.provider()
        one = await mint(provider)
        for state in states:
            place.machine(one.label).state = state
            assert await provider.list() == [Instance(one.label, one.ref, running=running, status=state)]


async def test_one_that_is_being_destroyed_is_listed_until_it_is_destroyed() -> None:
    async with fly_place() as place:
        provider = place.provider()
        one = await mint(provider)
        place.cloud.lingers = True
        await provider.slay(one)
        await provider.slay(one)
        assert labels(await provider.list()) == {one.label}
        place.cloud.machines[one.ref].state = "destroyed"
        assert await provider.list() == []


async def test_machines_that_are_none_of_ours_are_left_out_though_their_metadata_say_so() -> None:
    async with fly_place() as place:
        place.cloud.machines["1"] = FlyMachine("web", "ams", {"metadata": {"yurt_owner": "yurt"}})
        assert await place.provider().list() == []


async def test_the_check_names_what_to_do() -> None:
    async with fly_place() as place:
        _, finding = await place.provider(key="wrong").check()
        assert (finding.ok, "FLY_API_TOKEN" in finding.hint) == (False, True)
        _, finding = await place.provider(app="other").check()
        assert (finding.ok, "fly apps create other" in finding.hint) == (False, True)
        place.cloud.fault("GET", "hang")
        _, finding = await place.provider().check()
        assert (finding.ok, "did not answer" in finding.message) == (False, True)


async def test_the_check_says_whether_the_image_is_there() -> None:
    with image_registry() as registry:
        async with fly_place() as place:
            private, opened = await place.provider(image=registry.image).check()
            assert (private.ok, "push it to registry.fly.io/yurt-workers" in private.hint) == (False, True)
            assert opened.message == "the token opens Fly's app yurt-workers, with 0 machines of this installation"
            fly, _ = await place.provider(image="registry.fly.io/yurt-workers:1").check()
            assert (fly.ok, "is not known: registry.fly.io gives it" in fly.message) == (True, True)


async def test_the_api_has_no_logs_and_the_command_that_has_is_named() -> None:
    async with fly_place() as place:
        assert "fly logs --app yurt-workers" in await place.provider().boot_log("yurt-photos-1")


async def test_its_books_charge_a_machine_until_it_is_destroyed() -> None:
    async with fly_place() as place:
        provider = place.provider()
        await provider.slay(await mint(provider))
        charged = place.cloud.books(Decimal(1))
        assert charged == place.cloud.books(Decimal(1)) > 0


def test_settings_that_cannot_be_are_refused() -> None:
    right = {"kind": "fly", "app": "a", "image": "i", "usd_per_hour": 1}
    FlySettings.model_validate(right)
    for wrong in ({"usd_per_hour": 0}, {"memory_mb": 300}, {"gpus": 2}, {"regions": ["amsterdam"]}, {"app": "A/b"}):
        with pytest.raises(ValueError, match="validation error"):
            FlySettings.model_validate({**right, **wrong})
