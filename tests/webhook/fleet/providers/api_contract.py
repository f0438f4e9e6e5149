"""What every `Provider` of machines behind somebody's HTTP API must do beside the contract of all providers.

Its own tests run `API_CHECKS` against a fake of the API: see `fake_api`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from tests.webhook.fleet.providers.contract import TOKEN, labels, mint, order_for
from tests.webhook.fleet.providers.fake_api import FakeApi, Reply
from webhook.fleet.providers import Provider, ProviderBusy, ProviderError, ProviderRefused


class ApiPlace(Protocol):
    """A fake of the API, and providers that call it."""

    @property
    def cloud(self) -> FakeApi: ...

    def provider(self, **settings: Any) -> Provider: ...


async def a_creation_whose_answer_was_lost_is_listed(place: ApiPlace) -> None:
    provider = place.provider()
    for deed in ("lose", "cut"):
        wanted = await order_for(provider)
        place.cloud.fault(place.cloud.creation, deed)
        with pytest.raises(ProviderError):
            await provider.mint(wanted)
        assert wanted.label in labels(await provider.list())


async def each_refusal_of_a_creation_is_told_apart(place: ApiPlace) -> None:
    wanted = await order_for(place.provider())
    for reply, kind in (
        (Reply(429, text="too many", headers={"Retry-After": "7"}), ProviderBusy),
        (Reply(403, text="limit of machines reached"), ProviderRefused),
        (Reply(422, text="invalid machine"), ProviderRefused),
        (Reply(500, text="oops"), ProviderError),
        (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), ProviderError),
        (Reply(201, text="<html>"), ProviderError),
        (Reply(201, {"id": "../x"}), ProviderError),
    ):
        place.cloud.fault(place.cloud.creation, "answer", reply)
        with pytest.raises(kind) as caught:
            await place.provider().mint(wanted)
        assert not isinstance(caught.value, ProviderBusy) or caught.value.retry_seconds == 7


async def an_error_repeats_neither_the_token_nor_the_key(place: ApiPlace) -> None:
    provider = place.provider()
    wanted = await order_for(provider)
    place.cloud.fault(place.cloud.creation, "answer", Reply(422, text=f"bad env {TOKEN} {place.cloud.key}"))
    with pytest.raises(ProviderRefused) as caught:
        await provider.mint(wanted)
    assert "bad env" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert place.cloud.key not in str(caught.value)


async def slaying_fails_aloud_where_it_was_not_done(place: ApiPlace) -> None:
    one = await mint(place.provider())
    for reply in (Reply(500), Reply(403), Reply(429)):
        place.cloud.fault("DELETE", "answer", reply)
        with pytest.raises(ProviderError):
            await place.provider().slay(one)
    place.cloud.fault("DELETE", "lose")
    with pytest.raises(ProviderError):
        await place.provider().slay(one)
    await place.provider().slay(one)


async def a_list_that_does_not_come_whole_is_an_error(place: ApiPlace) -> None:
    provider = place.provider()
    await mint(provider)
    for deed in ("hang", "cut", "lose"):
        place.cloud.fault("GET", deed)
        with pytest.raises(ProviderError):
            await provider.list()


async def check_that_no_page_may_be_missing(place: ApiPlace, provider: Provider, page: int) -> None:
    """Check a provider whose list has three pages for five machines: none of them may be left out."""
    for _ in range(5):
        await mint(provider)
    for _ in range(page - 1):
        place.cloud.fault("GET", "pass")
    place.cloud.fault("GET", "cut")
    with pytest.raises(ProviderError):
        await provider.list()


async def a_control_plane_on_loopback_is_refused(place: ApiPlace) -> None:
    wanted = await order_for(place.provider())
    with pytest.raises(ProviderRefused, match=r"cannot reach the control plane.*set server\.public_url"):
        await place.provider().mint(replace(wanted, url="http://localhost:8080"))
    assert await place.provider().list() == []


async def a_control_plane_whose_url_machines_cannot_use_is_refused(place: ApiPlace) -> None:
    wanted = await order_for(place.provider())
    for url, why in (
        ("http://yurt.example.com", 'plain http.*environment = { YURT_ALLOW_HTTP = "1" }'),
        ("https://10.0.0.7:8080", "private network"),
        ("https://yurt.lan", "private network"),
    ):
        with pytest.raises(ProviderRefused, match=why):
            await place.provider().mint(replace(wanted, url=url))
    assert await place.provider().list() == []


async def a_network_that_is_trusted_may_be_used_in_clear(place: ApiPlace) -> None:
    provider = place.provider(environment={"YURT_ALLOW_HTTP": "1"})
    wanted = replace(await order_for(provider), url="http://yurt.example.com")
    await provider.mint(wanted)
    assert labels(await provider.list()) == {wanted.label}


ApiCheck = Callable[[ApiPlace], Awaitable[None]]

API_CHECKS: tuple[ApiCheck, ...] = (
    a_creation_whose_answer_was_lost_is_listed,
    each_refusal_of_a_creation_is_told_apart,
    an_error_repeats_neither_the_token_nor_the_key,
    slaying_fails_aloud_where_it_was_not_done,
    a_list_that_does_not_come_whole_is_an_error,
    a_control_plane_on_loopback_is_refused,
    a_control_plane_whose_url_machines_cannot_use_is_refused,
    a_network_that_is_trusted_may_be_used_in_clear,
)
