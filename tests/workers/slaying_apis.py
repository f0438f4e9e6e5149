"""Stand-ins for the APIs by which a machine destroys itself, and the variables that a machine finds there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from tests.polling import until
from tests.webhook.fleet.providers.fake_api import ApiRequest, FakeApi, Reply, Wrong

MACHINE = "8723417"


class OneInstanceApi(FakeApi):
    """Vast's call to destroy the one instance to which the key belongs."""

    key = "instance-key-0123456789abcdef"

    def __init__(self) -> None:
        super().__init__()
        self.there = True
        self.asked = 0

    def handle(self, request: ApiRequest) -> Reply:
        if (request.method, request.path, request.body) != ("DELETE", f"/api/v0/instances/{MACHINE}/", {}):
            raise Wrong("no such call")
        self.asked += 1
        if not self.there:
            return Reply(404, {"success": False, "error": "no_such_instance", "msg": self.key})
        self.there = False
        return Reply(200, {"success": True})

    def variables(self, url: str) -> dict[str, str]:
        return {
            "YURT_SLAYS_ITSELF": "vast",
            "YURT_SLAY_URL": f"{url}/api/v0",
            "CONTAINER_ID": MACHINE,
            "CONTAINER_API_KEY": self.key,
        }


class OnePodApi(FakeApi):
    """RunPod's GraphQL mutation that terminates the pod to which the key belongs."""

    key = "pod-key-0123456789abcdef"

    def __init__(self) -> None:
        super().__init__()
        self.there = True

    def handle(self, request: ApiRequest) -> Reply:
        given = re.sub(r"\s+", "", request.body["query"])
        wanted = "mutationterminatePod($podId:String!){podTerminate(input:{podId:$podId})}"
        if (request.method, request.path, given) != ("POST", "/graphql", wanted):
            raise Wrong("no such call")
        if request.body["variables"] != {"podId": MACHINE} or not self.there:
            return Reply(200, {"errors": [{"message": "pod not found to terminate"}], "data": None})
        self.there = False
        return Reply(200, {"data": {"podTerminate": None}})

    def variables(self, url: str) -> dict[str, str]:
        return {
            "YURT_SLAYS_ITSELF": "runpod",
            "YURT_SLAY_URL": url,
            "RUNPOD_POD_ID": MACHINE,
            "RUNPOD_API_KEY": self.key,
        }


class WatchedProcess:
    """A watchdog in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid

    async def ended(self) -> tuple[int, str]:
        """Its exit code and its log."""
        _, log = await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode is not None
        return self.process.returncode, log.decode()


@asynccontextmanager
async def watched(
    program: str, variables: Mapping[str, str], *, executable: str = sys.executable, **patience: float
) -> AsyncIterator[WatchedProcess]:
    """Run a Python program as a watchdog's agent."""
    limits = [f"{name}={seconds}" for name, seconds in patience.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.workers.watched_program", executable, program, *limits,
        env={"PATH": "/usr/bin:/bin", **variables}, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield WatchedProcess(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its agent too
        await process.wait()


async def destroyed(api: OneInstanceApi | OnePodApi) -> None:
    await until(lambda: not api.there, failure=lambda: f"it is still there: {api.requests}")
