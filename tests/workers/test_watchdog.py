"""A machine destroys itself however its agent ends, and whatever its provider's API answers."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.polling import until
from tests.stream_server import stream_server
from tests.webhook.fleet.providers.fake_api import Deed, Reply
from tests.workers.processes import descendants
from tests.workers.slaying_apis import MACHINE, OneInstanceApi, destroyed, watched
from workers.signs_of_life import SignsOfLife

STAYS = "import time; time.sleep(3600)"
NO_ANSWER = "http://127.0.0.1:1/api"

BUSY = Reply(429, text="API requests too frequent")
REFUSED = Reply(404, {"success": False, "error": "auth_error", "msg": "invalid key"})
DENIED = Reply(200, {"success": False, "error": "busy"})
NO_KEY = Reply(401, {"error": "unauthorized"})
NOT_VASTS = Reply(404, text="<html>no such host here</html>")


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 130])
async def test_an_agent_that_ends_takes_its_machine_with_it(code: int) -> None:
    api = OneInstanceApi()
    async with api.serving() as url, watched(f"raise SystemExit({code})", api.variables(url)) as watchdog:
        assert (await watchdog.ended())[0] == code
        assert not api.there


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_an_agent_that_is_killed_takes_its_machine_with_it(number: int) -> None:
    api = OneInstanceApi()
    async with api.serving() as url:
        kills_itself = f"import os; os.kill(os.getpid(), {int(number)})"
        async with watched(kills_itself, api.variables(url)) as watchdog:
            assert (await watchdog.ended())[0] == 128 + number
        assert not api.there


async def test_an_agent_that_cannot_be_started_takes_its_machine_with_it() -> None:
    api = OneInstanceApi()
    async with api.serving() as url, watched("", api.variables(url), executable="/no/such/program") as watchdog:
        assert (await watchdog.ended())[0] != 0
        assert not api.there


@pytest.mark.parametrize("hangs", [STAYS, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"])
async def test_an_agent_that_hangs_is_killed_and_takes_its_machine_with_it(hangs: str) -> None:
    api = OneInstanceApi()
    async with (
        api.serving() as url,
        watched(hangs, api.variables(url), silence_seconds=0.2, look_seconds=0.05) as watchdog,
    ):
        code, log = await watchdog.ended()
        assert (code, "agent-hangs" in log, api.there) == (128 + signal.SIGKILL, True, False)


async def test_an_agent_that_gives_signs_of_life_goes_on() -> None:
    api = OneInstanceApi()
    beats = "import os, time\nfor _ in range(40): os.write(int(os.environ['YURT_WATCHDOG']), b'.'); time.sleep(0.05)"
    async with (
        api.serving() as url,
        watched(f"{beats}\nraise SystemExit(7)", api.variables(url), silence_seconds=1, look_seconds=0.05) as watchdog,
    ):
        assert (await watchdog.ended())[0] == 7


async def test_signals_are_handed_on(tmp_path: Path) -> None:
    api = OneInstanceApi()
    ready = tmp_path / "ready"
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(3600)"
    )
    async with api.serving() as url, watched(program, api.variables(url)) as watchdog:
        await until(ready.exists)
        assert api.there
        watchdog.process.terminate()
        assert (await watchdog.ended())[0] == signal.SIGTERM
        assert not api.there


@pytest.mark.parametrize(
    "answer", [Reply(500), BUSY, REFUSED, DENIED, NOT_VASTS, Reply(401, {"error": "unauthorized"})]
)
async def test_an_api_that_refuses_is_asked_again(answer: Reply) -> None:
    api = OneInstanceApi()
    for _ in range(3):
        api.fault("DELETE", "answer", answer)
    async with api.serving() as url, watched("", api.variables(url)) as watchdog:
        code, log = await watchdog.ended()
        assert (code, log.count('"failed"'), api.there) == (0, 3, False), log


@pytest.mark.parametrize("deed", ["hang", "lose", "cut"])
async def test_an_api_that_does_not_answer_is_asked_again(deed: Deed) -> None:
    api = OneInstanceApi()
    api.fault("DELETE", deed)
    async with api.serving() as url, watched("", api.variables(url), attempt_seconds=0.5) as watchdog:
        assert (await watchdog.ended())[0] == 0
        assert not api.there


async def test_an_api_whose_answer_trickles_is_left_in_time() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with stream_server(trickle) as port:
        variables = OneInstanceApi().variables(f"http://127.0.0.1:{port}")
        async with watched("", variables, attempt_seconds=0.3, slaying_seconds=0.5) as watchdog:
            _, log = await watchdog.ended()
    assert "no answer in time" in log


async def test_a_provider_that_agreed_is_asked_until_the_machine_is_gone() -> None:
    api = OneInstanceApi()
    api.fault("DELETE", "answer", Reply(200, {"success": True}))  # it does nothing
    async with api.serving() as url, watched("", api.variables(url)) as watchdog:
        _, log = await watchdog.ended()
        assert (api.there, api.asked) == (False, 2)
    results = [json.loads(line).get("result") for line in log.splitlines()]
    assert [result for result in results if result] == ["agreed", "agreed", "gone"]


async def test_a_machine_that_is_being_destroyed_ends_at_a_signal() -> None:
    api = OneInstanceApi()
    async with api.serving() as url, watched("", api.variables(url), confirm_seconds=3600) as watchdog:
        await destroyed(api)
        watchdog.process.terminate()
        assert (await watchdog.ended())[0] == 0


async def test_a_watchdog_gives_up_in_the_end_and_says_so() -> None:
    variables = OneInstanceApi().variables(NO_ANSWER)
    async with watched("", variables, slaying_seconds=0.2) as watchdog:
        _, log = await watchdog.ended()
    assert "not-slain" in log
    assert log.count("slaying-attempt") > 1


async def test_nobody_but_the_watchdog_has_the_key(tmp_path: Path) -> None:
    api = OneInstanceApi()
    seen = tmp_path / "seen"
    program = f"import os, pathlib; pathlib.Path({str(seen)!r}).write_bytes(open('/proc/self/environ', 'rb').read())"
    async with api.serving() as url, watched(program, api.variables(url)) as watchdog:
        _, log = await watchdog.ended()
    environment = seen.read_text()
    assert f"CONTAINER_ID={MACHINE}" in environment
    assert "YURT_WATCHDOG=" in environment
    for name in (api.key, "CONTAINER_API_KEY", "YURT_SLAYS_ITSELF"):
        assert name not in environment
        assert name not in log


async def test_an_agent_without_its_watchdog_ends(tmp_path: Path) -> None:
    api = OneInstanceApi()
    beats = tmp_path / "beats"
    program = (
        "import asyncio, pathlib\n"
        f"from {SignsOfLife.__module__} import SignsOfLife\n"
        f"pathlib.Path({str(beats)!r}).touch()\n"
        "asyncio.run(SignsOfLife.take().during(asyncio.sleep(3600)))"
    )
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    async with api.serving() as url, watched(program, {**api.variables(url), **root}) as watchdog:
        await until(beats.exists)
        [agent] = descendants(watchdog.pid)
        watchdog.process.kill()
        await watchdog.ended()
        await until(lambda: not Path(f"/proc/{agent}").exists())
        assert api.there  # its control plane destroys it
