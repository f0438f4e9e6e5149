from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.webhook.fleet.providers.contract import CHECKS, OWNER, Check, labels, listed, mint, order
from tests.webhook.fleet.providers.local_place import STUB, ended, is_there, local_place
from webhook.fleet.providers import Instance, ProviderError, ProviderRefused
from webhook.fleet.providers.local import LocalProvider
from webhook.ledger.machines import new_label

SECRETS = ("DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "YURT_WEBHOOK_SECRET", "GITHUB_TOKEN")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_local_provider_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        await check(place)


async def test_a_worker_inherits_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_TIME", "C")
    async with local_place(tmp_path) as place:
        one = await mint(place.provider())
        environment = await place.environment(one.label)
    assert "secret" not in environment.values()
    assert (environment["LC_TIME"], environment["PATH"]) == ("C", os.environ["PATH"])
    given = {name for name in environment if name.startswith("YURT_")}
    assert given == {"YURT_URL", "YURT_TOKEN", "YURT_LABEL", "YURT_LIFELINE"}


async def test_what_a_worker_prints_is_for_its_user_alone(tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        one = await mint(place.provider())
        await place.running(one.label)
        files = [path for path in (tmp_path / "workers").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".log"}
    assert {path.stat().st_mode & 0o777 for path in files if path.exists()} == {0o600}


async def test_a_worker_may_use_plain_http_where_the_operator_wrote_it(tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        wanted = replace(order(), url="http://control-plane:8080")
        await place.provider().mint(wanted)
        assert (await place.environment(wanted.label))["YURT_ALLOW_HTTP"] == "1"


async def test_a_worker_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    async with local_place(tmp_path, grace_seconds=60.0) as place:
        provider = place.provider()
        one = await mint(provider)
        await place.running(one.label)
        async with asyncio.timeout(30):
            await provider.slay(one)
        await listed(provider, set())
        assert (tmp_path / "started" / f"{one.label}.asked").exists()


async def test_a_worker_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async with local_place(tmp_path, "stubborn", grace_seconds=0.1) as place:
        provider = place.provider()
        one = await mint(provider)
        await place.running(one.label)
        await provider.slay(one)
        assert not is_there(int(one.ref))


@pytest.mark.parametrize("deeds", ["parent", "parent stubborn"])
async def test_a_slain_worker_leaves_no_child_behind(tmp_path: Path, deeds: str) -> None:
    async with local_place(tmp_path, deeds, grace_seconds=0.1) as place:
        provider = place.provider()
        one = await mint(provider)
        child = (await place.running(one.label))["child"]
        await provider.slay(one)
        await ended(child)


async def test_a_killed_worker_leaves_no_child_and_no_zombie_behind(tmp_path: Path) -> None:
    async with local_place(tmp_path, "parent") as place:
        provider = place.provider()
        one = await mint(provider)
        child = (await place.running(one.label))["child"]
        await place.kill(one)
        await listed(provider, set())
        assert not is_there(int(one.ref))
        await ended(child)


async def test_closing_ends_every_worker(tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        provider = place.provider()
        minted = [await mint(provider) for _ in range(2)]
        await provider.aclose()
        assert not any(is_there(int(one.ref)) for one in minted)
        with pytest.raises(ProviderRefused, match="closed"):
            await mint(provider)


async def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    provider = LocalProvider(OWNER, tmp_path, argv=["/nowhere/worker"])
    with pytest.raises(ProviderError, match="is /nowhere/worker there"):
        await provider.mint(order())
    assert await provider.list() == []
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


async def test_another_process_with_the_same_number_is_neither_listed_nor_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as bystander:
        label = new_label(OWNER, "photos")
        (tmp_path / f"{label}.pid").write_text(str(bystander.pid))
        provider = LocalProvider(OWNER, tmp_path, argv=STUB)
        await provider.slay(Instance(label, str(bystander.pid)))
        assert await provider.list() == []
        assert bystander.poll() is None
        bystander.kill()


async def test_each_worker_prints_into_a_log_of_its_own(tmp_path: Path) -> None:
    async with local_place(tmp_path, "chatty", log_bytes=1_000) as place:
        provider = place.provider()
        one = await mint(provider)
        await place.running(one.label)
        log = tmp_path / "workers" / "logs" / f"{one.label}.log"
        assert log.stat().st_size > 50_000
        await provider.list()
        assert log.read_bytes() == b"x" * 499 + b"\n"


async def test_logs_of_ended_workers_are_bounded(tmp_path: Path) -> None:
    async with local_place(tmp_path, log_files=2) as place:
        provider = place.provider()
        first = await mint(provider)
        for _ in range(4):
            one = await mint(provider)
            await provider.slay(one)
        last = await mint(provider)
        kept = {path.stem for path in (tmp_path / "workers" / "logs").iterdir()}
        assert {first.label, last.label} < kept
        assert len(kept) == 4


CONTROL_PLANE = """
import asyncio, sys
from pathlib import Path
from tests.webhook.fleet.providers.contract import mint
from tests.webhook.fleet.providers.local_place import LocalPlace

async def main():
    provider = LocalPlace(Path(sys.argv[1]), sys.argv[2]).provider()
    print((await mint(provider)).label, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def start_control_plane(folder: Path, deeds: str) -> tuple[asyncio.subprocess.Process, str]:
    control_plane = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CONTROL_PLANE, str(folder), deeds),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    assert control_plane.stdout
    return control_plane, (await control_plane.stdout.readline()).decode().strip()


async def kill(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_workers_end_when_their_control_plane_is_killed(tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        control_plane, label = await start_control_plane(tmp_path, "")
        worker = await place.running(label)
        await kill(control_plane)
        await ended(worker["pid"])
        await listed(place.provider(), set())


async def test_a_worker_that_outlived_its_control_plane_is_found_and_slain(tmp_path: Path) -> None:
    async with local_place(tmp_path) as place:
        control_plane, label = await start_control_plane(tmp_path, "undying stubborn")
        worker = await place.running(label)
        await kill(control_plane)
        place.options["grace_seconds"] = 0.1
        provider = place.provider()
        unknown = await provider.list()
        assert labels(unknown) == {label}
        await provider.slay(unknown[0])
        assert await provider.list() == []
        await ended(worker["pid"])
