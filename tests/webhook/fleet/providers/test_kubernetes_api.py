"""Calls of the Kubernetes API that fail: errors, lost answers, hangs, pages that expire. Before a pretend server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.webhook.fleet.providers.contract import TOKEN, labels, mint, order
from tests.webhook.fleet.providers.fake_api import Reply
from tests.webhook.fleet.providers.fake_kube_api import fake_kube, kubeconfig, status
from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused


async def test_all_pages_of_a_list_are_read(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.page = 2
        minted = [await mint(provider) for _ in range(5)]
        assert labels(await provider.list()) == labels(minted)


async def test_a_list_whose_next_page_has_expired_is_started_anew(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.page = 2
        minted = [await mint(provider) for _ in range(5)]
        api.expire_at = {api.pages_read + 2, api.pages_read + 4}
        assert labels(await provider.list()) == labels(minted)


async def test_a_list_that_keeps_expiring_or_never_ends_is_an_error(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.expire_at = set(range(1, 100))
        with pytest.raises(ProviderError, match="changed faster"):
            await provider.list()
        api.expire_at, api.endless = set(), True
        with pytest.raises(ProviderError, match="more than 100 pages"):
            await provider.list()


@pytest.mark.parametrize(
    "reply", [Reply(200, {"kind": "JobList"}), Reply(200, {"items": "x"}), Reply(200, []), Reply(200, text="<html>")]
)
async def test_what_is_no_list_is_not_taken_for_an_empty_one(tmp_path: Path, reply: Reply) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        await mint(provider)
        api.fault("GET", "answer", reply)
        with pytest.raises(ProviderError):
            await provider.list()


@pytest.mark.parametrize("items", [[{}], [{"metadata": {"name": 1}}], ["x"], [None]])
async def test_items_of_another_form_are_an_error(tmp_path: Path, items: list[object]) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.fault("GET", "answer", Reply(200, {"items": items}))
        with pytest.raises(ProviderError):
            await provider.list()


async def test_a_machine_whose_answer_was_lost_is_listed(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        wanted = order()
        api.fault("POST", "lose")
        with pytest.raises(ProviderError) as raised:
            await provider.mint(wanted)
        assert raised.value.retry
        [shown] = await provider.list()
        assert shown.label == wanted.label
        await provider.slay(shown)
        assert await provider.list() == []


async def test_a_job_without_its_secret_is_listed_and_slain(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.fault("POST", "pass")
        api.fault("POST", "answer", status(500, "etcdserver: request timed out"))
        with pytest.raises(ProviderError, match="request timed out"):
            await mint(provider)
        [shown] = await provider.list()
        await provider.slay(shown)
        assert (api.jobs, api.secrets) == ({}, {})


async def test_a_slaying_whose_answer_was_lost_is_repeated(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        one = await mint(provider)
        api.fault("DELETE", "lose")
        with pytest.raises(ProviderError):
            await provider.slay(one)
        assert api.secrets
        await provider.slay(one)
        assert (api.jobs, api.secrets) == ({}, {})


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (status(429, "too many requests", **{"Retry-After": "7"}), ProviderBusy, "too many requests"),
        (status(403, 'jobs "x" is forbidden: exceeded quota: q'), ProviderBusy, "ResourceQuota"),
        (status(403, 'User "u" cannot create resource "jobs"'), ProviderRefused, "kubectl apply"),
        (status(403, "denied by policy: no latest tags"), ProviderRefused, "the cluster's policy"),
        (status(422, "Job is invalid: spec.x"), ProviderRefused, "spec.x"),
        (status(404, 'namespaces "yurt-workers" not found'), ProviderRefused, "not found"),
        (status(401, "Unauthorized"), ProviderRefused, "expired"),
        (Reply(302, headers={"Location": "https://elsewhere.example"}), ProviderRefused, "302"),
        (Reply(503, text="<html>" + TOKEN), ProviderError, "no reason given"),
        (status(500, f"cannot store {TOKEN}"), ProviderError, "cannot store …"),
    ],
)
async def test_errors_say_what_they_mean_for_minting(
    tmp_path: Path, reply: Reply, kind: type[ProviderError], said: str
) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.fault("POST", "answer", reply)
        with pytest.raises(kind, match=said) as raised:
            await mint(provider)
        assert TOKEN not in f"{raised.value} {raised.value!r}"
        assert isinstance(raised.value, ProviderRefused) == (kind is ProviderRefused)
        if isinstance(raised.value, ProviderBusy):
            assert raised.value.retry_seconds == (7 if reply.status == 429 else 30)


async def test_a_cut_answer_is_an_error(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        await mint(provider)
        api.fault("GET", "cut")
        with pytest.raises(ProviderError, match="was not reached"):
            await provider.list()


async def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.fleet.providers.kubernetes_api.CALL_SECONDS", 0.2)
    async with fake_kube(tmp_path) as (api, provider):
        api.fault("GET", "hang")
        with pytest.raises(ProviderError, match="did not answer GET"):
            await provider.list()


async def test_a_call_that_hangs_can_be_cancelled(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        api.fault("POST", "hang")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mint(provider), 0.2)
        assert await provider.list() == []


async def test_a_kubeconfig_that_was_renewed_is_read_again(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        assert await provider.list() == []
        old, api.key = api.key, "another-key"
        with pytest.raises(ProviderError, match="expired"):
            await provider.list()
        path = tmp_path / "kubeconfig"
        path.write_text(path.read_text().replace(old, api.key))
        assert await provider.list() == []


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        kubeconfig(tmp_path, "http://127.0.0.1:1", api.key)
        with pytest.raises(ProviderError, match=r"http://127\.0\.0\.1:1 was not reached: the connection is refused"):
            await provider.list()
        [finding] = await provider.check()
        assert not finding.ok
