"""What a worker's container is, as the engine is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.webhook.fleet.providers.contract import OWNER, order
from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers.docker_container import described
from webhook.provider_settings import DockerSettings


def body(**fields: Any) -> dict[str, Any]:
    wanted = order()
    settings = DockerSettings.model_validate({"kind": "docker", "image": "localhost/yurt-worker:1", **fields})
    return {**described(settings, OWNER, wanted), "order": wanted}


def host(**fields: Any) -> dict[str, Any]:
    part: dict[str, Any] = body(**fields)["HostConfig"]
    return part


def test_a_container_is_labelled_and_given_its_token_by_the_environment_alone() -> None:
    made = body(environment={"HF_HUB_OFFLINE": "1"})
    wanted = made.pop("order")
    assert made["Labels"] == {"yurt.owner": OWNER, "yurt.pool": "photos", "yurt.label": wanted.label}
    assert (made["Image"], made["Cmd"]) == ("localhost/yurt-worker:1", ["worker"])
    environment = made.pop("Env")
    assert {"HF_HUB_OFFLINE=1", f"YURT_TOKEN={wanted.token}", f"YURT_URL={wanted.url}"} < set(environment)
    assert wanted.token not in str(made)


def test_a_container_of_an_image_without_yurt_installs_its_worker() -> None:
    made = body(bootstrap="python")
    assert (made["Entrypoint"], made["Cmd"]) == (["python3"], list(start_command()[1:]))
    assert "Entrypoint" not in body()


def test_a_container_may_do_little_and_leaves_when_it_ends() -> None:
    made = host()
    assert (made["CapDrop"], made["SecurityOpt"], made["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
    assert (made["ReadonlyRootfs"], made["Init"], made["PidsLimit"]) == (True, True, 4096)
    assert made["RestartPolicy"] == {"Name": "no"}
    assert made["LogConfig"]["Config"]["max-size"] == "10m"
    assert body()["Healthcheck"] == {"Test": ["NONE"]}
    assert host(read_only=False)["ReadonlyRootfs"] is False


def test_what_is_not_set_is_not_limited() -> None:
    assert not {"NanoCpus", "Memory", "MemorySwap", "DeviceRequests", "NetworkMode"} & set(host())


def test_limits_are_exact_and_there_is_no_swap() -> None:
    made = host(cpus=Decimal("1.25"), memory_bytes=1 << 30)
    assert (made["NanoCpus"], made["Memory"], made["MemorySwap"]) == (1_250_000_000, 1 << 30, 1 << 30)


def test_gpus_are_all_or_a_number() -> None:
    counts = [host(gpus=gpus)["DeviceRequests"][0]["Count"] for gpus in ("all", 2)]
    assert counts == [-1, 2]


def test_folders_of_the_host_are_read_only_unless_said_otherwise() -> None:
    mounts = [{"source": "/srv/models", "target": "/models"}]
    mounts += [{"source": "/srv/cache", "target": "/cache", "read_only": False}]  # type: ignore[dict-item]
    scratch, models, cache = host(mounts=mounts, network="yurt")["Mounts"]
    assert scratch == {"Type": "volume", "Target": "/tmp"}
    assert models == {"Type": "bind", "Source": "/srv/models", "Target": "/models", "ReadOnly": True}
    assert cache["ReadOnly"] is False
