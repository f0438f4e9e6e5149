from __future__ import annotations

import asyncio
import time

import pytest
from starlette.responses import Response

from tests.polling import until
from tests.workers.control_plane import ONE_TIME_TOKEN, WORKER_TOKEN, StubControlPlane, served
from workers.client import (
    MAX_ANSWER_BYTES,
    ControlPlaneClient,
    ControlPlaneFault,
    LeaseLost,
    Rejected,
    Unauthorized,
    Unreachable,
)
from workers.protocol import (
    Download,
    LeaseRequest,
    ModelSource,
    ModelSources,
    OutputRequest,
    OutputsRequest,
    Released,
    WorkerProgress,
)

ROOT = "f" * 64
INSTANCE = "instance-0123456789"
TEXT = OutputRequest(name="a.txt", size=1, content_type="text/plain")


def connected(plane: StubControlPlane, token: str = ONE_TIME_TOKEN, answer_seconds: float = 10) -> ControlPlaneClient:
    return ControlPlaneClient(plane.url, token, answer_seconds=answer_seconds)


async def test_hello_exchanges_the_one_time_token() -> None:
    async with served(StubControlPlane(slots=3)) as plane, connected(plane) as caller:
        welcome = await caller.hello(INSTANCE)
        assert (welcome.slots, welcome.token) == (3, WORKER_TOKEN)
        assert "token" not in repr(welcome)
        response = await caller.lease(LeaseRequest(max=0))
        assert response.leases == []


async def test_the_same_instance_may_say_hello_again_another_may_not() -> None:
    async with served(StubControlPlane()) as plane:
        async with connected(plane) as caller:
            await caller.hello(INSTANCE)
        async with connected(plane) as caller:
            assert (await caller.hello(INSTANCE)).worker == 7
        async with connected(plane) as caller:
            with pytest.raises(Unauthorized, match="was used"):
                await caller.hello("another-0123456789")


MEANINGS: list[tuple[str, int, type[ControlPlaneFault]]] = [
    ("workers/hello", 401, Unauthorized),
    ("workers/hello", 403, Unauthorized),
    ("workers/hello", 409, Unauthorized),
    ("workers/hello", 404, Rejected),
    ("workers/hello", 400, Rejected),
    ("workers/hello", 302, Rejected),
    ("workers/hello", 500, Unreachable),
    ("workers/hello", 503, Unreachable),
    ("workers/hello", 408, Unreachable),
    ("workers/hello", 429, Unreachable),
    ("leases/5/heartbeat", 409, LeaseLost),
    ("leases/5/heartbeat", 404, LeaseLost),
    ("leases/5/heartbeat", 410, LeaseLost),
    ("leases/5/heartbeat", 422, Rejected),
    ("leases/5/heartbeat", 401, Unauthorized),
    ("leases/5/heartbeat", 502, Unreachable),
]


async def test_what_a_status_means() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        lease = plane.offer("a", id=5)
        for path, status, fault in MEANINGS:
            plane.faults[f"POST /v1/{path}"] = [Response('{"error": "x", "message": "because"}', status)]
            with pytest.raises(ControlPlaneFault) as raised:
                await (caller.hello(INSTANCE) if "hello" in path else caller.heartbeat(5, lease.token))
            assert (path, status, type(raised.value)) == (path, status, fault)
            assert raised.value.transient is (fault is Unreachable)


async def test_retry_after_is_kept() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        plane.faults["POST /v1/workers/hello"] = [Response(status_code=503, headers={"Retry-After": "7"})]
        with pytest.raises(Unreachable) as raised:
            await caller.hello(INSTANCE)
        assert raised.value.after_seconds == 7


async def test_a_proxys_page_is_explained() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        plane.faults["POST /v1/workers/hello"] = [Response("<html>no such site</html>", 404)]
        with pytest.raises(Rejected, match="is the path of YURT_URL right"):
            await caller.hello(INSTANCE)


async def test_a_control_plane_that_is_not_there() -> None:
    async with served(StubControlPlane()) as plane:
        pass
    async with connected(plane) as caller:
        with pytest.raises(Unreachable, match="cannot be reached: the connection is refused"):
            await caller.hello(INSTANCE)


async def test_an_answer_that_does_not_come() -> None:
    async with served(StubControlPlane()) as plane, connected(plane, answer_seconds=0.1) as caller:
        plane.held["POST /v1/workers/hello"] = asyncio.Event()
        with pytest.raises(Unreachable, match="in time"):
            await caller.hello(INSTANCE)


async def test_an_answer_without_end() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        plane.faults["POST /v1/workers/hello"] = [Response(b" " * (MAX_ANSWER_BYTES + 1))]
        with pytest.raises(Rejected, match="exceeds"):
            await caller.hello(INSTANCE)


async def test_only_what_is_understood_proves_that_the_control_plane_is_there() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        start = caller.answered_at
        plane.faults["POST /v1/workers/hello"] = [Response("{}"), Response("{}", 404), Response("{}", 500)]
        for _ in range(3):
            with pytest.raises(ControlPlaneFault):
                await caller.hello(INSTANCE)
        assert caller.answered_at == start
        await until(lambda: time.monotonic() > start)
        await caller.hello(INSTANCE)
        assert caller.answered_at > start


async def test_a_malformed_answer_is_described_without_its_content() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        body = '{"leases": [{"id": 1, "input": {"url": "https://store/x?X-Amz-Signature=secret"}}]}'
        plane.faults["POST /v1/leases"] = [Response(body)]
        with pytest.raises(Rejected, match=r"not understood, at: leases\.0\.token") as raised:
            await caller.lease(LeaseRequest())
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None


async def test_outputs_are_requested_until_there_is_a_response() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        lease = plane.offer("a")
        plane.faults["POST /v1/leases/1/outputs"] = [Response(status_code=s) for s in (503, 500, 429)]
        request = OutputsRequest(
            token=lease.token,
            etag="e",
            outputs=[OutputRequest(name="a.txt", size=1, content_type="text/plain")],
        )
        answer = await caller.outputs(lease.id, request)
        assert [upload.name for upload in answer.uploads] == ["a.txt"]
        assert len(plane.of_kind("outputs")) == 4
        assert "secret" not in repr(answer)


async def test_outputs_that_were_not_requested() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        lease = plane.offer("a")
        plane.renamed_outputs = {"a.txt": "b.txt"}
        request = OutputsRequest(
            token=lease.token,
            etag="e",
            outputs=[OutputRequest(name="a.txt", size=1, content_type="text/plain")],
        )
        with pytest.raises(Rejected, match="other outputs"):
            await caller.outputs(lease.id, request)


async def test_settlements_are_answered_in_order() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        first, second = plane.offer("a"), plane.offer("b")
        plane.lost.add(first.token)
        settle = [Released(id=lease.id, token=lease.token) for lease in (first, second)]
        answer = await caller.lease(LeaseRequest(max=0, settle=settle))
        assert [settled.accepted for settled in answer.settled] == [False, True]


async def test_the_sources_of_a_model() -> None:
    source = ModelSource(path="model.onnx", size=1, download=Download(url="https://store/x?signature=secret"))
    sources = ModelSources(root=ROOT, files=(source,))
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        plane.models[ROOT] = lambda: sources
        assert await caller.models(ROOT) == sources
        with pytest.raises(Rejected, match="no pipeline names this version any more"):
            await caller.models("0" * 64)


async def test_progress_is_reported_and_answered() -> None:
    async with served(StubControlPlane()) as plane, connected(plane) as caller:
        report = WorkerProgress(phase="weights", model="safety", done_bytes=1, total_bytes=2, bytes_per_second=3)
        assert not (await caller.progress(report)).drain
        plane.draining = True
        assert (await caller.progress(report)).drain
        assert plane.progress == [report, report]
