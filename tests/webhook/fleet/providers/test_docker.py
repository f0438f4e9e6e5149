"""The docker provider at real engines, Podman and Docker, and at one that answers wrongly."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until
from tests.webhook.fleet.providers.canned_engine import VERSION, CannedEngine, canned_engine
from tests.webhook.fleet.providers.container_engines import STUB_IMAGE, ContainerEngine, running_engine
from tests.webhook.fleet.providers.contract import CHECKS, OWNER, TOKEN, Check, mint, order
from tests.webhook.fleet.providers.docker_place import DockerPlace, docker_place
from webhook.fleet.providers import BOOT_LOG_CHARACTERS, Instance, ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.docker import DockerProvider
from webhook.ledger.machines import new_label
from webhook.provider_settings import DockerSettings
from webhook.secret_settings import Secrets

ROOTFUL = pytest.mark.skipif(os.geteuid() != 0, reason="an engine without root has no cgroups")


@pytest.fixture(scope="session", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[ContainerEngine]:
    with running_engine(request.param) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_docker_provider_keeps_the_contract(check: Check, engine: ContainerEngine) -> None:
    async with docker_place(engine) as place:
        await check(place)


async def ended(place: DockerPlace, label: str) -> None:
    """Wait until a container has ended."""
    provider = place.provider()

    async def has_ended() -> bool:
        return any(one.label == label and not one.running for one in await provider.list())

    await until(has_ended)


async def test_a_worker_that_breaks_at_once_leaves_its_log(engine: ContainerEngine) -> None:
    async with docker_place(engine, environment={"STUB_DEEDS": "broken"}) as place:
        provider = place.provider()
        one = await mint(provider)
        await ended(place, one.label)
        where, *printed = (await provider.boot_log(one.label)).splitlines()
        assert where == f"container {one.label} at {engine.host}, exited with status 3"
        assert set(printed) == {"started with worker", "it broke"}
        await provider.slay(one)
        assert await provider.boot_log(one.label) == ""
        assert await provider.boot_log("../../etc/passwd") == ""


async def test_a_long_log_is_shown_from_its_end(engine: ContainerEngine) -> None:
    async with docker_place(engine, environment={"STUB_DEEDS": "chatty broken"}) as place:
        provider = place.provider()
        one = await mint(provider)
        await ended(place, one.label)
        log = await provider.boot_log(one.label)
        assert len(log) <= BOOT_LOG_CHARACTERS
        # Podman ends a line wherever the container's write ended.
        assert "line2998line2999" in "".join(log.split())


@ROOTFUL
async def test_a_container_is_as_confined_as_it_was_described(engine: ContainerEngine) -> None:
    async with docker_place(engine, cpus="0.5", memory_bytes=256 << 20) as place:
        provider = place.provider()
        one = await mint(provider)
        [about] = json.loads(engine.run("inspect", one.label))
        made = about["HostConfig"]
        assert (made["NanoCpus"], made["Memory"], made["PidsLimit"]) == (500_000_000, 256 << 20, 4096)
        assert (made["ReadonlyRootfs"], made["Init"], made["Privileged"]) == (True, True, False)
        [process] = await place.processes(one.label, "sh")
        status = (process / "status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status


@ROOTFUL
async def test_a_container_has_the_folders_of_its_settings(engine: ContainerEngine, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("model")
    mounts = [{"source": str(tmp_path), "target": "/models"}]
    async with docker_place(engine, mounts=mounts) as place:
        one = await mint(place.provider())
        write = "read line < /models/weights; echo $line; (: > /models/new) 2>&1; (: > /tmp/new) && echo writes"
        printed = engine.run("exec", one.label, "/bin/sh", "-c", write)
    assert printed.startswith("model\n")
    assert "Read-only" in printed
    assert printed.endswith("writes\n")


async def test_a_container_leaves_no_volume(engine: ContainerEngine) -> None:
    async with docker_place(engine) as place:
        provider = place.provider()
        one = await mint(provider)
        assert engine.run("volume", "ls", "--quiet")
        await provider.slay(one)
        assert engine.run("volume", "ls", "--quiet") == ""


async def test_a_worker_that_ignores_sigterm_is_killed(engine: ContainerEngine) -> None:
    async with docker_place(engine, environment={"STUB_DEEDS": "stubborn"}) as place:
        provider = place.provider()
        one = await mint(provider)
        await place.argv(one.label)
        await provider.slay(one)
        assert await provider.list() == []


async def test_no_more_containers_than_the_settings_allow(engine: ContainerEngine) -> None:
    async with docker_place(engine, machines=2) as place:
        provider = place.provider()
        [offer] = await provider.offers()
        orders = [order(offer=offer) for _ in range(4)]
        results = await asyncio.gather(*map(provider.mint, orders), return_exceptions=True)
        assert sum(isinstance(result, ProviderBusy) for result in results) == 2
        assert await provider.offers() == []
        first = (await provider.list())[0]
        await place.kill(first)
        await ended(place, first.label)
        assert await provider.offers() == [offer]


async def test_one_that_was_created_and_never_started_is_listed_and_removed(engine: ContainerEngine) -> None:
    async with docker_place(engine, mounts=[{"source": "/", "target": "/host"}]) as place:
        provider = place.provider()
        label = new_label(OWNER, "photos")
        labels = (f"--label=yurt.owner={OWNER}", f"--label=yurt.label={label}")
        engine.run("create", f"--name={label}", *labels, STUB_IMAGE)
        [one] = await provider.list()
        assert (one.label, one.running, one.status) == (label, True, "created")
        await provider.slay(one)
        assert not engine.exists(label)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": "localhost/none:1"}, "no container was started.*localhost/none:1"),
        ({"gpus": "all"}, r"Podman gives no GPU.*use Docker for this pool|NVIDIA Container Toolkit"),
        ({"network": "bridge"}, "cannot reach the control plane at http://127.0.0.1:8080.*set server.public_url"),
    ],
)
async def test_what_cannot_be_minted_says_why(engine: ContainerEngine, fields: dict[str, Any], said: str) -> None:
    async with docker_place(engine, **fields) as place:
        provider = place.provider()
        wanted = replace(order(), url="http://127.0.0.1:8080") if "network" in fields else order()
        with pytest.raises(ProviderError, match=said) as raised:
            await provider.mint(wanted)
        assert TOKEN not in str(raised.value)
        assert not [one for one in await provider.list() if one.status == "running"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": "localhost/none:1"}, 'localhost/none:1 is not there, and pull = "never"'),
        ({"network": "nowhere"}, "there is no network nowhere"),
        ({"host": "unix:///nowhere.sock"}, "unix:///nowhere.sock does not exist"),
    ],
)
async def test_a_check_names_what_is_wrong(engine: ContainerEngine, fields: dict[str, Any], said: str) -> None:
    async with docker_place(engine, **fields) as place:
        [wrong] = [finding for finding in await place.provider().check() if not finding.ok]
        assert said in wrong.message
        assert wrong.hint


async def test_a_check_says_what_the_engine_is(engine: ContainerEngine) -> None:
    async with docker_place(engine) as place:
        found, image = await place.provider().check()
        version = engine.run("version", "--format", "{{.Server.Version}}").strip()
        rootless = ", rootless" if os.geteuid() else ""
        assert found.message == f"{engine.program.title()} {version} at {engine.host}{rootless}"
        assert image.message == f"{STUB_IMAGE} is there"


# ── faults that a real engine does not show on demand ────────────────────────────────────────────────────────────────


def at(canned: CannedEngine, **fields: Any) -> DockerProvider:
    settings = {"kind": "docker", "host": canned.host, "image": "yurt", "network": "host", "pull": "never", **fields}
    return DockerProvider(OWNER, DockerSettings.model_validate(settings), Secrets())


@pytest.mark.parametrize("listed", [{"message": "no list"}, [{"Id": "x"}], [None], [{"Labels": None, "State": "x"}]])
async def test_a_list_of_another_form_is_an_error(listed: object) -> None:
    async with canned_engine() as canned:
        canned.answers["GET /containers/json"] = (200, listed)
        with pytest.raises(ProviderError, match="in an unknown form"):
            await at(canned).list()


async def test_an_error_that_repeats_the_token_is_shown_without_it() -> None:
    async with canned_engine() as canned:
        canned.answers["POST /containers/create"] = (400, {"message": f"bad variable YURT_TOKEN={TOKEN}"})
        with pytest.raises(ProviderRefused, match="YURT_TOKEN=…") as raised:
            await at(canned).mint(order())
        assert TOKEN not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("invalid mount config: bind source path does not exist: /srv/x", "are the sources of mounts there"),
        ('could not select device driver "nvidia" with capabilities: [[gpu]]', "NVIDIA Container Toolkit"),
        ('exec: "worker": executable file not found in $PATH', "has to take the command"),
        ("container-init binary not found on the host", "catatonit"),
        ("network yurt not found", "is the network there"),
    ],
)
async def test_a_container_that_does_not_start_comes_with_advice(said: str, hint: str) -> None:
    async with canned_engine() as canned:
        canned.answers |= {
            "POST /containers/create": (201, {"Id": "a" * 64}),
            "POST /containers": (500, {"message": said}),
        }
        with pytest.raises(ProviderError, match=f"no container was started: .*{hint}"):
            await at(canned).mint(order())


@pytest.mark.parametrize(("status", "fails"), [(404, False), (409, False), (500, True)])
async def test_what_is_being_removed_already_is_a_success(status: int, fails: bool) -> None:
    async with canned_engine() as canned:
        canned.answers |= {"POST /containers": (204, b""), "DELETE /containers": (status, {"message": "no"})}
        slaying = at(canned).slay(Instance(new_label(OWNER, "photos"), "a" * 64))
        if fails:
            with pytest.raises(ProviderError):
                await slaying
        else:
            await slaying


async def test_gpus_are_refused_where_podman_would_ignore_them() -> None:
    async with canned_engine() as canned:
        podman = {**VERSION, "Components": [{"Name": "Podman Engine"}]}
        canned.answers |= {"GET /version": (200, podman), "GET /info": (200, {}), "GET /images": (200, {})}
        *_, finding = await at(canned, gpus="all").check()
        assert not finding.ok
        with pytest.raises(ProviderRefused, match="Podman gives no GPU"):
            await at(canned, gpus="all").mint(order())


async def test_limits_that_a_rootless_engine_cannot_set_are_named() -> None:
    async with canned_engine() as canned:
        about = {"MemoryLimit": False, "CpuCfsQuota": True, "SecurityOptions": ["name=rootless"]}
        canned.answers |= {"GET /info": (200, about), "GET /images": (200, {})}
        engine, _, memory = await at(canned, memory_bytes=1 << 30, cpus=1).check()
        assert engine.message.endswith(", rootless")
        assert (memory.ok, memory.message) == (False, "memory_bytes is set, but the engine cannot limit that")
