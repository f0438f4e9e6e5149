"""The kubernetes provider before a real API server, with the rights of the manifest and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.polling import until
from tests.sources import ROOT
from tests.webhook.fleet.providers.contract import CHECKS, Check, listed, mint, order, order_for
from tests.webhook.fleet.providers.fake_api import ApiRequest
from tests.webhook.fleet.providers.fake_kube_api import fake_kube
from tests.webhook.fleet.providers.image_registry import NO_IMAGE
from tests.webhook.fleet.providers.kube_apiserver import (
    WITHOUT_RIGHTS,
    KubeApiServer,
    kube_apiserver,
    manifest,
    path_of,
)
from tests.webhook.fleet.providers.kube_place import kube_place
from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.kubernetes import KubernetesProvider
from webhook.fleet.providers.kubernetes_check import NEEDED_RIGHTS
from webhook.fleet.providers.kubernetes_job import job
from webhook.provider_settings import KubernetesSettings

KUBERNETES = {"kind": "kubernetes", "image": "localhost/torch:1"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiServer]:
    with kube_apiserver(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_kubernetes_provider_keeps_the_contract(check: Check, server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path) as place:
        await check(place)


async def test_where_no_node_has_room_the_job_is_taken_back(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, node="full") as place:
        provider = place.provider()
        wanted = await order_for(provider)
        with pytest.raises(ProviderBusy, match=r"no node has room: 0/3 nodes .* Insufficient nvidia.com/gpu"):
            await provider.mint(wanted)
        await listed(provider, set())
        assert not await place.exists(wanted.label)


async def test_a_pod_may_wait_for_a_node_that_boots(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, node="full", settings={"node_wait_seconds": 600}) as place:
        provider = place.provider()
        one = await mint(provider)
        [shown] = await provider.list()
        assert (shown.label, shown.running) == (one.label, True)
        assert "Unschedulable: 0/3 nodes" in shown.status


async def test_a_quota_that_the_cluster_finds_exceeded_later_is_no_room(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, node="quota") as place:
        with pytest.raises(ProviderBusy, match="exceeded quota"):
            await mint(place.provider())
        await listed(place.provider(), set())


async def test_a_quota_of_jobs_is_no_room(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path) as place:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": place.namespace}}
        created = await place.create({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}})
        # The quota's controller would count what there is.
        counted = {"hard": {"count/jobs.batch": "0"}, "used": {"count/jobs.batch": "0"}}
        status = created.raise_for_status().json() | {"status": counted}
        (await place.admin.put(place.path("resourcequotas", "q/status"), json=status)).raise_for_status()
        with pytest.raises(ProviderBusy, match="exceeded quota"):
            await mint(place.provider())
        [*_, job] = await place.provider().check()
        assert not job.ok
        assert "exceeded quota" in job.message


async def test_what_a_limit_range_forbids_stays_forbidden(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, node="limit-range") as place:
        with pytest.raises(ProviderRefused, match="minimum memory usage per Container is 1Gi"):
            await mint(place.provider())
        await listed(place.provider(), set())


async def test_an_image_that_is_not_there_is_named(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, node="cannot-pull") as place:
        provider = place.provider()
        one = await mint(provider)
        assert "ImagePullBackOff: Back-off pulling image" in await until_logged(provider, one.label)
        [shown] = await provider.list()
        assert shown.running
        assert "do image_pull_secrets let the node pull it?" in shown.status


async def test_no_more_machines_than_the_setting_allows(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, settings={"machines": 1}) as place:
        provider = place.provider()
        wanted = await order_for(provider)
        await provider.mint(wanted)
        assert await provider.offers() == []
        with pytest.raises(ProviderBusy, match="1 workers"):
            await provider.mint(order())


async def test_the_secret_belongs_to_the_job_and_ends_with_it(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path) as place:
        provider = place.provider()
        one = await mint(provider)
        [secret] = await place.of("secrets", one.label)
        assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [one.ref]
        assert secret["immutable"]
        await provider.slay(one)
        assert await place.of("secrets", one.label) == []


async def test_dollars_in_the_environment_arrive_as_they_are(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path) as place:
        given = {"STUB_FOLDER": str(tmp_path), "STUB_DEEDS": "undying", "PRICE": "$(YURT_LABEL) $$5"}
        place.settings["environment"] = given
        one = await mint(place.provider())
        assert (await place.environment(one.label))["PRICE"] == "$(YURT_LABEL) $$5"


async def test_all_settings_make_a_job_that_the_server_takes(server: KubeApiServer, tmp_path: Path) -> None:
    settings = {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": 1},
        "node_selector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "gpu", "effect": "NoSchedule"}, {"operator": "Exists"}],
        "runtime_class": "gvisor",
        "service_account": "yurt-worker",
        "image_pull_secrets": ["registry"],
        "work_gb": 20,
        "cache": {"path": "/cache", "claim": "models"},
    }
    async with kube_place(server, tmp_path, settings=settings) as place:
        assert [finding.message for finding in await place.provider().check() if not finding.ok] == []
    settings["cache"] = {"path": "/cache", "host_path": "/srv/models", "read_only": True}
    async with kube_place(server, tmp_path, settings=settings) as place:
        assert [finding.message for finding in await place.provider().check() if not finding.ok] == []


async def test_a_job_of_an_image_without_yurt_installs_its_worker(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, settings={"bootstrap": "python"}) as place:
        assert [finding.message for finding in await place.provider().check() if not finding.ok] == []
    described = job(KubernetesSettings.model_validate({**KUBERNETES, "bootstrap": "python"}), "yurt", order())
    [container] = described["spec"]["template"]["spec"]["containers"]
    assert (tuple(container["command"]), "args" in container) == (start_command(), False)


async def test_a_user_without_rights_is_told_which_are_missing(server: KubeApiServer, tmp_path: Path) -> None:
    async with kube_place(server, tmp_path, user=WITHOUT_RIGHTS) as place:
        [*_, rights] = await place.provider().check()
        assert not rights.ok
        assert "create jobs, delete jobs, list jobs, create secrets" in rights.message
        with pytest.raises(ProviderError, match="cannot list resource"):
            await place.provider().list()


@pytest.mark.parametrize(
    ("url", "said"), [("http://localhost:8080", "set server.public_url"), ("http://yurt.yurt:80", "plain http")]
)
async def test_a_worker_is_not_sent_to_where_it_cannot_call_home(url: str, said: str, tmp_path: Path) -> None:
    nowhere = KubernetesSettings(kind="kubernetes", image="yurt:0.2", kubeconfig=str(tmp_path / "none"))
    with pytest.raises(ProviderRefused, match=said):  # before the cluster is looked for
        await KubernetesProvider("yurt", nowhere).mint(replace(order(), url=url))


async def until_logged(provider: KubernetesProvider, label: str) -> str:
    async def log() -> str:
        text = await provider.boot_log(label)
        return text if "Pending, " in text else ""

    return await until(log)


async def test_what_the_docs_show_is_taken_by_the_server(server: KubeApiServer, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert shown
    async with server.admin() as admin:
        for thing in shown:
            taken = await admin.post(path_of(thing), params={"dryRun": "All"}, json=thing)
            assert taken.is_success, taken.text


async def test_every_right_is_used_and_no_other(tmp_path: Path) -> None:
    async with fake_kube(tmp_path) as (api, provider):
        one = await mint(provider)
        await provider.list()
        await provider.boot_log(one.label)
        await provider.slay(one)
    assert {_right(request) for request in api.requests} == _needed()


async def test_the_check_says_that_nodes_pull_an_image_that_is_not_public(tmp_path: Path) -> None:
    async with fake_kube(tmp_path, image=NO_IMAGE) as (api, provider):
        *_, image, job_found = await provider.check()
        assert (image.ok, image.message) == (True, f"whether {NO_IMAGE} is there is not known: nodes pull it")
        assert job_found.message == f"a Job with the image {NO_IMAGE} would be taken"
        assert not api.jobs


def _right(request: ApiRequest) -> tuple[str, str, str]:
    """What a request needs, as the API server would work it out."""
    prefix, _, rest = request.path.partition("/namespaces/yurt-workers/")
    resource, *name = rest.split("/")
    named = {"GET": "get", "DELETE": "delete"}
    verb = named[request.method] if name else {"GET": "list", "POST": "create"}[request.method]
    return "batch" if "batch" in prefix else "", "/".join([resource, *name[1:]]), verb


def _needed() -> set[tuple[str, str, str]]:
    return {(one.group, one.resource, verb) for one in NEEDED_RIGHTS for verb in one.verbs}


def test_the_role_grants_what_is_used_and_no_more() -> None:
    [role] = [thing for thing in manifest() if thing["kind"] == "Role"]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == _needed()
