"""One set of providers serves the autoscaler and the API, also after a replica has stopped leading."""

from __future__ import annotations

import pytest

from tests.webhook.fleet.asked_provider import AskedProvider
from webhook.fleet import provider_set
from webhook.fleet.provider_set import ProviderSet
from webhook.fleet.providers import ProviderError


async def test_new_providers_take_the_place_of_closed_ones() -> None:
    made: list[AskedProvider] = []

    def make() -> dict[str, AskedProvider]:
        made.append(AskedProvider())
        return {"a": made[-1]}

    providers = ProviderSet(make)
    await providers.renew()
    assert [one.closed for one in made] == [[True], []]
    assert await providers.log("a", "yurt-x-1") == "log of yurt-x-1"
    await providers.aclose()
    assert [one.closed for one in made] == [[True], [True]]


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (AskedProvider(error=ProviderError("the key is refused", hint="make another")), "make another"),
        (AskedProvider(error=RuntimeError("the client is closed")), "the client is closed"),
        (AskedProvider(hangs=True), "did not answer within 0.01 s"),
    ],
)
async def test_a_log_that_cannot_be_had(provider: AskedProvider, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_set, "LOG_SECONDS", 0.01)
    with pytest.raises(ProviderError, match=says):
        await ProviderSet(lambda: {"a": provider}).log("a", "yurt-x-1")
    with pytest.raises(ProviderError, match="no provider b in the configuration"):
        await ProviderSet(lambda: {"a": provider}).log("b", "yurt-x-1")
