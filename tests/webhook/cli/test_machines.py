"""``yurt machines`` against a running control plane."""

from __future__ import annotations

import json

from tests.webhook.cli.operator import yurt
from tests.webhook.ordered_machines import intended
from tests.webhook.plane import configured, control_plane, event
from webhook.ledger.machines import Stranger
from webhook.pool_settings import Pool


async def test_a_list_shows_state_price_and_cost(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        assert (await yurt(plane, "machines", "list")).stdout == "There is no machine.\n"
        await intended(plane)
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        await worker.lease()
        rows = [line.split() for line in (await yurt(plane, "machines", "list")).stdout.splitlines()]
        [booting] = [row for row in rows if "booting" in row]
        assert booting[:4] == ["1", "local", "local", "booting"]
        assert booting[-3] == "0.3600"
        assert booting[-2].startswith("0.02")
        assert booting[-1] == "h-7"
        [ready] = [row for row in rows if "ready" in row]
        assert ready[-4:-2] == ["–", "1"], "it has a lease, so it is not idle"
        assert (await yurt(plane, "machines", "list", "--pool", "x")).stdout == "There is no such machine.\n"
        page = json.loads((await yurt(plane, "machines", "list", "--json", "--limit", "1")).stdout)
        assert ([machine["id"] for machine in page["machines"]], page["next"]) == ([2], 2)


async def test_one_machine_in_full_and_its_log(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        intent = await intended(plane)
        result = await yurt(plane, "machines", "show", str(intent.id))
        assert result.returncode == 0, result.stderr
        for text in (
            intent.label,
            "booting for",
            "rented 0.0 s",
            "h-7",
            "m-7",
            "o-7",
            "none yet",
            "0.36 $/h, and 0.02 $ once",
        ):
            assert text in result.stdout
        assert json.loads((await yurt(plane, "machines", "show", "--json", "1")).stdout)["label"] == intent.label
        assert "has no log of it" in (await yurt(plane, "machines", "logs", "1")).stdout
        assert json.loads((await yurt(plane, "machines", "logs", "--json", "1")).stdout) == {"log": ""}


async def test_draining_and_slaying(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        await worker.lease()
        drained = await yurt(plane, "machines", "drain", str(worker.id))
        assert "Machine 1 of pool local is draining: it finishes 1 leases." in drained.stdout
        asked = await yurt(plane, "machines", "slay", str(worker.id))
        assert asked.returncode != 0
        assert "which holds 1 leases? There is no terminal to answer on: give --yes" in asked.stderr
        [row] = await plane.sql("select state from workers")
        assert row["state"] == "draining"
        slain = await yurt(plane, "machines", "slay", str(worker.id), "--yes")
        assert "is being slain" in slain.stdout
        again = json.loads((await yurt(plane, "machines", "slay", "1", "--yes", "--json")).stdout)
        assert again["state"] == "slaying"


async def test_an_unknown_machine_is_told(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for argv in (("show", "7"), ("drain", "7"), ("slay", "7", "--yes"), ("slay", "7"), ("logs", "7")):
            result = await yurt(plane, "machines", *argv)
            assert result.returncode == 1
            assert "there is no machine of that number" in result.stderr


async def test_a_pool_is_woken(postgres_dsn: str) -> None:
    config = configured(pools={"local": Pool(provider="none"), "gpu": Pool(limit=3)})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        told = await yurt(plane, "machines", "wake", "gpu", "--machines", "2", "--time", "20m")
        assert "Pool gpu is to have 2 machines for 19 m: 0 ready, 0 starting." in told.stdout, told.stderr
        shown = json.loads((await yurt(plane, "machines", "wake", "gpu", "--json")).stdout)
        assert (shown["machines"], shown["pool"]) == (2, "gpu")
        long = await yurt(plane, "machines", "wake", "gpu", "--time", "2h")
        assert long.returncode != 0
        assert "an hour at most" in long.stderr
        unknown = await yurt(plane, "machines", "wake", "cpu/x")
        assert unknown.returncode == 1
        by_hand = await yurt(plane, "machines", "wake", "local")
        assert "no provider mints any" in by_hand.stderr


async def test_machines_of_another_installation(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        label = "yurt-local-99999999000000000000"
        await plane.services.fleet.note_strangers("local", [Stranger(label, "r-1")])
        shown = (await yurt(plane, "machines", "list")).stdout
        assert label in shown
        assert "left alone" in shown
        assert "another server.name" in " ".join(shown.split())
        asked = await yurt(plane, "machines", "slay", label)
        assert "which another installation may be using? There is no terminal to answer on" in asked.stderr
        slain = await yurt(plane, "machines", "slay", label, "--yes")
        assert f"{label} is being slain by provider local" in slain.stdout
        assert json.loads((await yurt(plane, "machines", "slay", label, "--yes", "--json")).stdout)["slaying"]
        assert "to be slain" in (await yurt(plane, "machines", "list")).stdout
        assert (await yurt(plane, "machines", "slay", "yurt-local-0", "--yes")).returncode == 1
