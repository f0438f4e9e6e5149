"""The vast provider against the pretend market."""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.webhook.fleet.fleet_memory import MemoryFleet
from tests.webhook.fleet.providers.api_contract import API_CHECKS, ApiCheck, check_that_no_page_may_be_missing
from tests.webhook.fleet.providers.contract import CHECKS, OTHER, Check, labels, mint, order, order_for
from tests.webhook.fleet.providers.fake_api import Reply
from tests.webhook.fleet.providers.image_registry import NO_IMAGE
from tests.webhook.fleet.providers.vast_market import SCALE, VastPlace, vast_place
from webhook.bootstrap.start_command import start_command
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import (
    Instance,
    Offer,
    OfferGone,
    Provider,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
)
from webhook.fleet.providers.registry_image import RegistryLogin
from webhook.fleet.providers.vast import MOST_PAGES


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_vast_provider_keeps_the_contract(check: Check) -> None:
    async with vast_place() as place:
        await check(place)


LOGIN = RegistryLogin("me", "pull-only")


class RestartedPlace:
    """A place whose every provider is that of a new process: the one before was told to wait."""

    def __init__(self, place: VastPlace) -> None:
        self.cloud = place.cloud
        self._place = place

    def provider(self, **settings: Any) -> Provider:
        self._place.restarted()
        return self._place.provider(**settings)


@pytest.mark.parametrize("check", API_CHECKS, ids=lambda check: check.__name__)
async def test_the_vast_provider_stands_what_an_api_does(check: ApiCheck) -> None:
    async with vast_place() as place:
        await check(RestartedPlace(place))


# ── offers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_cheapest_at_its_real_price_is_first() -> None:
    async with vast_place() as place:
        [cheap, *_] = await place.provider().offers()
        assert cheap == Offer(
            "100",
            Decimal("0.104110"),  # 0.10 + 0.15 × 20 / 730
            usd_once=Decimal("0.04"),
            machine="500",
            host="900",
            description="1× RTX 3090, 24 GB, Sweden, SE",
            usd_per_gb=Decimal("0.02"),
            by_price=True,
        )
        [first, *_] = await place.provider(weights_gb=10, order="dph-").offers()
        assert (first.id, first.usd_once) == ("111", Decimal("0.24"))


async def test_traffic_counts_in_the_order_unless_the_settings_have_one() -> None:
    async with vast_place() as place:
        dear_to_reach = {**PRICED, "inet_down_cost": 0.5}
        reply = Reply(200, {"offers": [dear_to_reach, {**PRICED, "id": 2, "dph_total": 0.2}]})
        for settings, ids in (({}, ["2", "1"]), ({"order": "dph+"}, ["1", "2"]), ({"image_gb": 0}, ["1", "2"])):
            place.cloud.fault("POST", "answer", reply)
            assert [offer.id for offer in await place.provider(**settings).offers()] == ids


async def test_only_what_the_search_says_is_offered() -> None:
    async with vast_place() as place:
        assert await place.provider(search="num_gpus>=2").offers() == []
        offers = await place.provider(search="verified=any gpu_ram>=12 dph<0.13 gpu_name=RTX_3090").offers()
        assert {offer.id for offer in offers} == {"100", "101", "102"}


PRICED = {"id": 1, "machine_id": 2, "host_id": 3, "dph_total": 0.1, "inet_down_cost": 0, "gpu_name": "A"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"dph_total": 0},
        {"dph_total": 1e-9},
        {"dph_total": None},
        {"dph_total": -1},
        {"dph_total": "0.1"},
        {"dph_total": True},
        {"dph_total": 1e9},
        {"inet_down_cost": None},
        {"id": 0},
        {"id": None},
        {"id": "../7"},
    ],
)
async def test_what_has_no_price_is_not_offered(wrong: dict[str, Any]) -> None:
    async with vast_place() as place:
        place.cloud.fault("POST", "answer", Reply(200, {"offers": [{**PRICED, **wrong}, PRICED, PRICED, 7]}))
        assert [offer.id for offer in await place.provider().offers()] == ["1"]


@pytest.mark.parametrize(
    ("parts", "hourly"),
    [
        ({"dph_base": 0.09, "storage_cost": 7.3}, "0.29"),  # the total includes no disk
        ({"dph_base": 0.01, "storage_cost": 0.73}, "0.10"),
        ({"dph_base": None, "storage_cost": 7.3}, "0.1"),
    ],
)
async def test_the_disk_is_in_the_price(parts: dict[str, Any], hourly: str) -> None:
    async with vast_place() as place:
        place.cloud.fault("POST", "answer", Reply(200, {"offers": [{**PRICED, **parts}]}))
        [offer] = await place.provider().offers()
        assert offer.usd_per_hour == Decimal(hourly)


@pytest.mark.parametrize("reply", [Reply(500), Reply(200, []), Reply(200, {}), Reply(200, {"success": False})])
async def test_what_is_no_search_is_an_error(reply: Reply) -> None:
    async with vast_place() as place:
        place.cloud.fault("POST", "answer", reply)
        with pytest.raises(ProviderError):
            await place.provider().offers()


async def test_a_quota_that_is_used_up_is_not_tried_again() -> None:
    async with vast_place() as place:
        place.market.faults.searches_left = 1
        provider = place.provider()
        await provider.offers()
        for _ in range(3):
            with pytest.raises(ProviderBusy, match="the day's searches are used up") as caught:
                await place.provider().offers()
            assert 7_190 < caught.value.retry_seconds <= 7_200
        assert len(place.cloud.requests) == 2
        await mint_offer(provider, "103")


async def mint_offer(provider: Provider, id: str) -> Instance:
    wanted = order(offer=Offer(id, Decimal(1)))
    return Instance(wanted.label, await provider.mint(wanted))


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply(429, text="API requests too frequent", headers={"Retry-After": "7"}), 7),
        (Reply(429, text="API requests too frequent", headers={"Retry-After": "3600"}), 60),
        (Reply(429, {"success": False, "error": "too_many_requests", "msg": "API requests too frequent"}), 10),
    ],
)
async def test_an_answer_that_asks_for_fewer_calls_is_obeyed(reply: Reply, seconds: float) -> None:
    async with vast_place() as place:
        place.cloud.fault("GET", "answer", reply)
        for _ in range(3):
            with pytest.raises(ProviderBusy, match="too frequent") as caught:
                await place.provider().list()
            assert seconds - 1 < caught.value.retry_seconds <= seconds
        assert len(place.cloud.requests) == 1
        await place.provider().offers()


# ── creation ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_machine_is_what_the_settings_and_the_order_say() -> None:
    async with vast_place() as place:
        provider = place.provider(disk_gb=36, environment={"HF_HUB_OFFLINE": "1"}, login=LOGIN)
        one = await mint(provider)
        body = dict(place.contract(one.label).body)
        environment = body.pop("env")
        assert body == {
            "image": NO_IMAGE,
            "disk": 36,
            "label": one.label,
            "runtype": "args",
            "args": ["worker"],
            "cancel_unavail": True,
            "image_login": "-u me -p pull-only 127.0.0.1:1",
        }
        assert set(environment) == {"YURT_URL", "YURT_TOKEN", "YURT_LABEL", "YURT_SLAYS_ITSELF", "HF_HUB_OFFLINE"}
        assert place.cloud.key not in str(place.contract(one.label).body)


async def test_ports_are_mapped_by_options_among_the_variables() -> None:
    async with vast_place() as place:
        one = await mint(place.provider(ports=[7000, 7001]))
        environment = place.contract(one.label).body["env"]
        assert {name: value for name, value in environment.items() if name.startswith("-")} == {
            "-p 7000:7000": "1", "-p 7001:7001": "1",
        }  # fmt: skip


async def test_a_machine_of_an_image_without_yurt_installs_its_worker() -> None:
    async with vast_place() as place:
        one = await mint(place.provider(bootstrap="python"))
        assert place.contract(one.label).body["args"] == list(start_command())


@pytest.mark.parametrize("status", [404, 410, 400])
async def test_an_offer_that_another_customer_took_is_gone(status: int) -> None:
    async with vast_place() as place:
        provider, wanted = place.provider(), await order_for(place.provider())
        place.cloud.fault("PUT", "answer", Reply(status, {"success": False, "error": "no_such_ask", "msg": "taken"}))
        with pytest.raises(OfferGone):
            await provider.mint(wanted)
        place.market.faults.taken = {100}
        with pytest.raises(OfferGone):
            await provider.mint(wanted)
        await mint_offer(provider, "101")


async def test_an_error_that_made_a_machine_nevertheless_gives_it_back() -> None:
    async with vast_place() as place:
        place.market.faults.errors_with_contract = 1
        provider = place.provider()
        with pytest.raises(ProviderError, match="start failed"):
            await mint(provider)
        assert place.market.living() == []
        assert len(place.market.books()) == 1


async def test_what_cannot_be_given_back_is_listed() -> None:
    async with vast_place() as place:
        place.market.faults.errors_with_contract = 1
        place.cloud.fault("DELETE", "answer", Reply(500))
        provider, wanted = place.provider(), await order_for(place.provider())
        with pytest.raises(ProviderError, match="start failed"):
            await provider.mint(wanted)
        assert labels(await provider.list()) == {wanted.label}


async def test_a_bad_key_is_refused_though_it_is_answered_404() -> None:
    async with vast_place() as place:
        provider = place.provider(key="wrong")
        for call in (
            provider.offers(),
            provider.list(),
            mint_offer(provider, "100"),
            provider.slay(Instance("a", "1")),
        ):
            with pytest.raises(ProviderRefused, match=r"key is not good.*VAST_API_KEY"):
                await call


async def test_an_error_repeats_no_password_of_the_registry() -> None:
    async with vast_place() as place:
        place.cloud.fault("PUT", "answer", Reply(400, text="bad image_login -u me -p pull-only ghcr.io"))
        with pytest.raises(ProviderRefused) as caught:
            await mint_offer(place.provider(login=LOGIN), "100")
        assert "pull-only" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://0.0.0.0:8080", "http://yurt.example.com"])
async def test_a_url_that_machines_cannot_reach_or_that_shows_their_token_is_refused(url: str) -> None:
    async with vast_place() as place:
        wanted = order(offer=Offer("100", Decimal(1)))
        with pytest.raises(ProviderRefused, match=r"server\.public_url"):
            await place.provider().mint(type(wanted)(wanted.label, wanted.pool, wanted.offer, url, wanted.token))
        assert place.cloud.requests == []


async def test_a_pretend_market_on_this_machine_has_machines_that_reach_it() -> None:
    async with vast_place() as place:
        wanted = order(offer=Offer("100", Decimal(1)))
        local = type(wanted)(wanted.label, wanted.pool, wanted.offer, "http://127.0.0.1:8080", wanted.token)
        assert await place.provider(api_url="http://127.0.0.1:1/api").mint(local)


# ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_list_has_all_pages_and_leaves_out_what_is_none_of_ours() -> None:
    async with vast_place() as place:
        place.market.page = 2
        mine, others = place.provider(), place.provider(OTHER)
        minted = {(await mint(mine)).label for _ in range(3)}
        other = await mint(others, OTHER)
        minted |= {(await mint(mine)).label for _ in range(2)}
        assert labels(await mine.list()) == minted
        assert labels(await others.list()) == {other.label}


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_list_without_one_of_its_pages_is_an_error(page: int) -> None:
    async with vast_place() as place:
        place.market.page = 2
        provider = place.provider()
        await check_that_no_page_may_be_missing(place, provider, page)


async def test_a_list_of_many_pages_may_take_longer_than_a_call() -> None:
    async with vast_place() as place:
        place.market.page = 1
        place.market.faults.stale = [{"id": n, "label": f"yurt-photos-{n}"} for n in range(1, 13)]
        calls = ProviderCalls(
            "vast", place.provider(), MemoryFleet(), url="", call_seconds=5 * SCALE, clock=time.monotonic
        )
        assert len(await calls.list()) == 12
        assert calls.list_seconds == 2.0 * MOST_PAGES, "a page a second, beside another provider with the key"


async def test_a_list_that_goes_round_in_circles_is_an_error() -> None:
    async with vast_place() as place:
        place.market.faults.same_page = True
        with pytest.raises(ProviderError, match="does not say which page of instances is next"):
            await place.provider().list()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(410, {"success": False, "error": "gone"}),
        Reply(200, []),
        Reply(200, {"instances": []}),
        Reply(200, {"success": False, "instances": [], "next_token": None}),
        Reply(200, {"instances": [7], "next_token": None}),
        Reply(200, {"instances": [{"label": "yurt-a-1"}], "next_token": None}),
        Reply(200, {"instances": [], "next_token": ""}),
    ],
)
async def test_what_is_no_list_of_instances_is_an_error(reply: Reply) -> None:
    async with vast_place() as place:
        place.cloud.fault("GET", "answer", reply)
        with pytest.raises(ProviderError):
            await place.provider().list()


async def test_instances_without_a_label_are_left_out() -> None:
    async with vast_place() as place:
        place.market.faults.stale = [{"id": 1, "label": None}, {"id": 2}, {"id": 3, "label": "yurtle"}]
        assert await place.provider().list() == []


@pytest.mark.parametrize(
    ("states", "running"),
    [
        (("created", "loading", "running", "rebooting"), True),
        (("exited", "unknown", "offline", "stopped", "frozen"), False),
    ],
)
async def test_instances_that_never_get_well_do_not_run_and_are_listed(states: Sequence[str], running: bool) -> None:
    async with vast_place() as place:
        provider = place.provider()
        one = await mint(provider)
        for state in states:
            place.contract(one.label).status = state
            [shown] = await provider.list()
            assert (shown.label, shown.ref, shown.running, shown.status) == (one.label, one.ref, running, state)


async def test_an_instance_that_was_just_ordered_has_no_state() -> None:
    async with vast_place() as place:
        place.market.faults.stale = [{"id": 5, "label": "yurt-photos-1", "actual_status": None, "dph_total": 0}]
        assert await place.provider().list() == [Instance("yurt-photos-1", "5", status="ordered")]


async def test_a_price_that_changes_shows() -> None:
    async with vast_place() as place:
        provider = place.provider()
        one = await mint(provider)
        [offered] = [place.contract(one.label).offer.shown(20)["dph_total"]]
        [before] = await provider.list()
        assert before.usd_per_hour == Decimal(str(offered)).quantize(Decimal("0.000001")), "it did not change"
        place.contract(one.label).reprice(Decimal("0.25"), place.market.clock())
        [after] = await provider.list()
        assert after.usd_per_hour == Decimal("0.25")


async def test_an_instance_that_was_destroyed_counts_until_it_is_no_longer_listed() -> None:
    async with vast_place() as place:
        provider = place.provider()
        one = await mint(provider)
        place.market.faults.lingers = True
        await provider.slay(one)
        await provider.slay(one)
        assert labels(await provider.list()) == {one.label}
        place.market.faults.lingers = False
        assert await provider.list() == []


# ── logs, check, books ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_log_of_a_machine_is_fetched_without_the_key() -> None:
    async with vast_place() as place:
        provider = place.provider()
        one = await mint(provider)
        place.market.logs[int(one.ref)] = "no space left on device\n"
        assert await provider.boot_log(one.label) == f"instance {one.ref} at Vast.ai, running\nno space left on device"
        assert await provider.boot_log("yurt-photos-0") == ""


async def test_a_log_that_cannot_be_had_is_an_error() -> None:
    async with vast_place() as place:
        provider = place.provider()
        one = await mint(provider)
        for answer in (Reply(500), Reply(200, {"success": True}), Reply(200, {"result_url": "http://10.0.0.1/x"})):
            place.cloud.fault("PUT", "answer", answer)
            with pytest.raises(ProviderError):
                await provider.boot_log(one.label)


async def test_the_check_says_what_the_key_may_do_and_what_is_left() -> None:
    async with vast_place() as place:
        image, good, searched = await place.provider().check()
        assert image.message.startswith(f"whether {NO_IMAGE} is there is not known: ")
        assert good.message == "Vast.ai's key is good: 0 machines of this installation, 42.50 $ of credit"
        assert searched.message == (
            "the key may search: 12 machines fit, the first is 1× RTX 3090, 24 GB, Sweden, SE at 0.1041 $/h and "
            "0.0400 $ once"
        )


async def test_the_check_names_what_is_to_be_done() -> None:
    async with vast_place() as place:
        _, finding = await place.provider(key="wrong").check()
        assert (finding.ok, "VAST_API_KEY" in finding.hint) == (False, True)
        *_, finding = await place.provider(search="num_gpus>=9").check()
        assert (finding.ok, "vastai search offers" in finding.hint) == (False, True)
        place.cloud.fault("POST", "answer", Reply(403, {"success": False, "error": "forbidden", "msg": "misc"}))
        *_, finding = await place.provider().check()
        assert (finding.ok, "search offers" in finding.hint) == (False, True)
        place.cloud.fault("GET", "hang")
        *_, finding = await place.provider().check()
        assert (finding.ok, "did not answer" in finding.message) == (False, True)


async def test_the_books_charge_an_instance_until_it_is_destroyed() -> None:
    async with vast_place() as place:
        provider = place.provider()
        await provider.slay(await mint(provider))
        [before], [after] = place.market.books(), place.market.books()
        assert before == after
        assert before.hourly_usd > 0
        assert before.traffic_usd == Decimal("0.04")
