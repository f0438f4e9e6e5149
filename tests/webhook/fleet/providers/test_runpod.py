"""The runpod provider against a pretend RunPod."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.webhook.fleet.providers.api_contract import API_CHECKS, ApiCheck, check_that_no_page_may_be_missing
from tests.webhook.fleet.providers.contract import CHECKS, Check, labels, mint, order
from tests.webhook.fleet.providers.fake_api import Reply
from tests.webhook.fleet.providers.image_registry import image_registry
from tests.webhook.fleet.providers.runpod_cloud import RunpodCloud, RunpodPod, runpod_place
from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import Instance, ProviderBusy, ProviderError, ProviderRefused
from webhook.provider_settings.runpod import RunpodSettings

LAST_PAGE = {"hasNextPage": False, "nextCursor": None}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_runpod_provider_keeps_the_contract(check: Check) -> None:
    async with runpod_place() as place:
        await check(place)


@pytest.mark.parametrize("check", API_CHECKS, ids=lambda check: check.__name__)
async def test_the_runpod_provider_stands_what_an_api_does(check: ApiCheck) -> None:
    async with runpod_place() as place:
        await check(place)


async def test_an_account_without_money_is_refused() -> None:
    async with runpod_place() as place:
        place.cloud.fault("POST", "answer", Reply(402, {"detail": "balance too low"}))
        with pytest.raises(ProviderRefused, match="balance too low"):
            await place.provider().mint(order())


async def test_a_pod_is_what_the_settings_say() -> None:
    async with runpod_place() as place:
        where: dict[str, Any] = {"cloud": "COMMUNITY", "data_centers": ["EU-RO-1"], "registry": "reg_1", "gpus": 2}
        one = await mint(place.provider(**where, environment={"HF_HUB_OFFLINE": "1"}))
        body = place.pod(one.label).body
        assert (body["cloud"], body["dataCenterIds"], body["registry"]) == ("COMMUNITY", ["EU-RO-1"], "reg_1")
        assert (body["gpu"]["count"], body["env"]["HF_HUB_OFFLINE"], body["ports"]) == (2, "1", [])
        assert body["env"]["YURT_SLAYS_ITSELF"] == "runpod"
        assert RunpodCloud.key not in str(body)


async def test_a_pod_of_an_image_without_yurt_installs_its_worker() -> None:
    async with runpod_place() as place:
        one = await mint(place.provider(bootstrap="python"))
        assert tuple(shlex.split(place.pod(one.label).body["args"])) == start_command()


async def test_a_gpu_that_is_not_free_is_busy_and_an_unknown_one_is_refused() -> None:
    async with runpod_place() as place:
        with pytest.raises(ProviderRefused, match="unknown gpu id RTX 4090"):
            await place.provider(gpu="RTX 4090").mint(order())
        place.cloud.full = True
        with pytest.raises(ProviderBusy, match="no room for 1× NVIDIA GeForce RTX 4090"):
            await place.provider().mint(order())


async def test_the_list_has_all_pages() -> None:
    async with runpod_place() as place:
        provider = place.provider()
        minted = {(await mint(provider)).label for _ in range(5)}
        assert labels(await provider.list()) == minted


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_list_without_one_of_its_pages_is_an_error(page: int) -> None:
    async with runpod_place() as place:
        provider = place.provider()
        await check_that_no_page_may_be_missing(place, provider, page)


async def test_a_list_that_goes_round_in_circles_is_an_error() -> None:
    async with runpod_place() as place:
        place.cloud.loops = True
        with pytest.raises(ProviderError, match="does not say which page of pods is next"):
            await place.provider().list()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(429, text="no"),
        Reply(200, []),
        Reply(200, {"pods": []}),
        Reply(200, {"pods": [{}], "pagination": LAST_PAGE}),
        Reply(200, {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": None}}),
    ],
)
async def test_what_is_no_list_of_pods_is_an_error(reply: Reply) -> None:
    async with runpod_place() as place:
        place.cloud.fault("GET", "answer", reply)
        with pytest.raises(ProviderError):
            await place.provider().list()


@pytest.mark.parametrize(
    ("states", "running"), [(("PROVISIONING", "STARTING", "RUNNING"), True), (("EXITED", "ERROR"), False)]
)
async def test_pods_that_never_get_well_do_not_run(states: Sequence[str], running: bool) -> None:
    async with runpod_place() as place:
        provider = place.provider()
        one = await mint(provider)
        for status in states:
            place.pod(one.label).status = status
            shown = Instance(one.label, one.ref, running=running, usd_per_hour=Decimal("0.34"), status=status)
            assert await provider.list() == [shown]


@pytest.mark.parametrize(
    ("cost", "told"), [(0.1, Decimal("0.1")), (1, Decimal(1)), (0, None), (None, None), ("1", None)]
)
async def test_a_price_is_exact_and_no_price_is_none(cost: Any, told: Decimal | None) -> None:
    async with runpod_place() as place:
        provider = place.provider()
        one = await mint(provider)
        place.pod(one.label).cost = cost
        assert [each.usd_per_hour for each in await provider.list()] == [told]


async def test_a_pod_that_still_shows_after_its_end_counts_until_it_is_terminated() -> None:
    async with runpod_place() as place:
        provider = place.provider()
        one = await mint(provider)
        place.cloud.lingers = True
        await provider.slay(one)
        await provider.slay(one)
        assert labels(await provider.list()) == {one.label}
        place.cloud.pods[one.ref].status = "TERMINATED"
        assert await provider.list() == []


async def test_pods_of_the_account_that_are_none_of_ours_are_left_out() -> None:
    async with runpod_place() as place:
        place.cloud.pods["1"] = RunpodPod("yurtle", {})
        assert await place.provider().list() == []


async def test_the_check_of_the_key_names_what_to_do() -> None:
    async with runpod_place() as place:
        _, finding = await place.provider(key="wrong").check()
        assert (finding.ok, "RUNPOD_API_KEY" in finding.hint) == (False, True)
        place.cloud.fault("GET", "hang")
        _, finding = await place.provider().check()
        assert (finding.ok, "did not answer" in finding.message) == (False, True)


async def test_the_check_says_what_the_key_may_do_and_whether_the_image_is_there() -> None:
    with image_registry() as registry:
        async with runpod_place() as place:
            private, key = await place.provider(image=registry.image).check()
            assert (private.ok, "set registry to their id" in private.hint) == (False, True)
            assert "RunPod's key may list pods: 0 of this installation" in key.message
            stored, _ = await place.provider(image=registry.image, registry="reg_1").check()
            assert (stored.ok, "is not known: RunPod has the credentials" in stored.message) == (True, True)


async def test_where_the_log_is_said() -> None:
    async with runpod_place() as place:
        assert "RunPod's console" in await place.provider().boot_log("yurt-photos-1")


async def test_its_books_charge_a_pod_until_it_is_terminated() -> None:
    async with runpod_place() as place:
        provider = place.provider()
        await provider.slay(await mint(provider))
        charged = place.cloud.books()
        assert charged == place.cloud.books() > 0


def test_settings_of_a_pod_that_cannot_be_are_refused() -> None:
    right = {"kind": "runpod", "image": "i", "gpu": "NVIDIA L4", "usd_per_hour": 1}
    RunpodSettings.model_validate(right)
    for wrong in ({"usd_per_hour": 0}, {"gpus": 0}, {"cloud": "secure"}, {"data_centers": ["x"]}, {"disk_gb": 0}):
        with pytest.raises(ValueError, match="validation error"):
            RunpodSettings.model_validate({**right, **wrong})
