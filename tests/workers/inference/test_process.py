"""The process that runs models: started when it is needed, replaced when it has ended, and jailed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest
from structlog.testing import capture_logs

from tests.polling import until, wait_until
from tests.workers.checks.graphs import write_model
from tests.workers.inference.graphs import picture
from workers.inference import client
from workers.inference.address import INFERENCE
from workers.inference.client import RemoteGraph
from workers.inference.errors import InferenceLost, UnusableModelError
from workers.inference.memory import limit_bytes
from workers.inference.process import InferenceProcess
from workers.machine_memory import memory_bytes
from workers.sandbox import proc
from workers.sandbox.child import jail
from workers.sandbox.environment import scrubbed

ROOT = Path(__file__).parents[3]
ASKING = """
import sys
from pathlib import Path
from tests.workers.inference.test_process import red_of
print(red_of(Path(sys.argv[1]), float(sys.argv[2])))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[InferenceProcess]:
    """One that runs the models below the test's folder ``models``, and which this process asks."""
    (tmp_path / "models").mkdir()
    one = InferenceProcess(tmp_path / "models", scrubbed({"PYTHONPATH": str(ROOT)}))
    with mock.patch.dict(os.environ, {INFERENCE: one.address}):
        try:
            yield one
        finally:
            client.disconnect()
            await one.aclose()
    assert not Path(one.address).parent.exists()


def graph_of(tmp_path: Path, name: str = "colours") -> Path:
    """A graph below the folder of the models."""
    return write_model(tmp_path / "models" / name) / "model.onnx"


def red_of(graph: Path, red: float) -> float:
    """What a handler's process is told about a picture."""
    return float(client.open_graph(graph).run(["scores"], picture(red))[0][0, 0])


async def test_it_is_started_at_the_first_question(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        assert process.pid is None
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.25) == 0.25
        first = process.pid
        client.disconnect()
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.5) == 0.5
        assert process.pid == first is not None


async def test_a_graph_is_loaded_ahead_of_the_first_question(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        with capture_logs() as logs:
            process.load(graph_of(tmp_path))
            await until(lambda: [log for log in logs if log["event"] == "model loaded"])
            assert await asyncio.to_thread(red_of, tmp_path / "models/colours/model.onnx", 0.25) == 0.25
        assert [log["event"] for log in logs] == ["model loaded"], "it was not loaded again"


async def test_a_graph_that_cannot_be_loaded_ahead_is_told_at_the_first_question(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        graph = graph_of(tmp_path)
        graph.write_bytes(b"no graph")
        with capture_logs() as logs:
            process.load(graph)
            await until(lambda: [log for log in logs if log["event"] == "model not loaded"])
        with pytest.raises(UnusableModelError):
            await asyncio.to_thread(red_of, graph, 0.25)


async def test_it_ends_while_a_graph_is_being_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        process.load(graph_of(tmp_path))


@pytest.mark.skipif(bool(jail.support().missing), reason="there is no jail here")
async def test_models_that_come_after_its_start_are_read_though_there_was_no_folder(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        (tmp_path / "models").rmdir()
        process.warm()
        await until(lambda: process.pid and "Seccomp:\t2" in Path(f"/proc/{process.pid}/status").read_text())
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.25) == 0.25


async def test_what_a_model_runs_on_is_logged(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(tmp_path) as process:
            graph = graph_of(tmp_path)
            await asyncio.to_thread(red_of, graph, 1)
            await until(lambda: logs)
            assert process.load_seconds == logs[0]["seconds"] > 0
    assert [(each["event"], each["graph"], each["runs_on"]) for each in logs] == [
        ("model loaded", str(graph), "CPUExecutionProvider")
    ]


async def test_it_is_started_ahead_where_it_is_to_be(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        process.warm()
        await until(lambda: process.pid)
        first = process.pid
        process.warm()
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.25) == 0.25
        assert process.pid == first


async def test_one_that_was_killed_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        graph = graph_of(tmp_path)
        opened = await asyncio.to_thread(RemoteGraph, graph)
        first, before = process.pid, await until(lambda: process.load_seconds)
        assert first
        assert before
        os.kill(first, signal.SIGKILL)
        with pytest.raises(InferenceLost):
            await asyncio.to_thread(opened.run, ["scores"], picture(1))
        client.disconnect()
        assert await asyncio.to_thread(red_of, graph, 0.75) == 0.75
        assert process.pid not in (first, None)
        await until(lambda: process.load_seconds and process.load_seconds > before)


async def test_all_that_wait_at_once_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        command = [sys.executable, "-c", ASKING, str(graph_of(tmp_path))]
        environment = {"PYTHONPATH": str(ROOT), INFERENCE: process.address}
        many = [
            await asyncio.create_subprocess_exec(*command, str(n / 8), stdout=subprocess.PIPE, env=environment)
            for n in range(4)
        ]
        assert [(await one.communicate())[0] for one in many] == [b"0.0\n", b"0.125\n", b"0.25\n", b"0.375\n"]


async def test_its_end_is_not_survived_by_a_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        opened = await asyncio.to_thread(RemoteGraph, graph_of(tmp_path))
        pid = process.pid
        assert pid
        await process.aclose()
        assert proc.use_of(pid) is None
        with pytest.raises(InferenceLost):
            await asyncio.to_thread(opened.run, ["scores"], picture(1))
        client.disconnect()
        with pytest.raises(InferenceLost, match="cannot be reached"):
            await asyncio.to_thread(RemoteGraph, graph_of(tmp_path))


async def test_it_ends_with_its_agent(tmp_path: Path) -> None:
    agent = """
import asyncio, sys
from pathlib import Path
from workers.inference.memory import limit_bytes
from workers.inference.process import InferenceProcess
from workers.machine_memory import memory_bytes
from workers.sandbox.environment import scrubbed
async def main():
    process = InferenceProcess(Path(sys.argv[1]), scrubbed({}))
    process.warm()
    while not process.pid:
        await asyncio.sleep(0.01)
    print(process.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", agent, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout
        pid = int(running.stdout.readline())
        assert proc.use_of(pid)
        running.kill()
    wait_until(lambda: proc.use_of(pid) is None)


@pytest.mark.skipif(bool(jail.support().missing), reason="there is no jail here")
async def test_it_reads_nothing_but_models(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        outside = write_model(tmp_path / "outside")
        (tmp_path / "models" / "link").symlink_to(outside)
        with pytest.raises(UnusableModelError, match="not below the folder"):
            await asyncio.to_thread(RemoteGraph, tmp_path / "models" / "link" / "model.onnx")
        assert process.pid
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status


async def test_models_are_read_though_their_whole_folder_was_removed_meanwhile(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.25) == 0.25
        first = process.pid
        client.disconnect()
        shutil.rmtree(tmp_path / "models")
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.5) == 0.5
        assert process.pid != first


async def test_it_may_take_less_memory_than_there_is(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await asyncio.to_thread(red_of, graph_of(tmp_path), 1)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert int(limits.partition("Max data size")[2].split()[0]) == limit_bytes(memory_bytes())


async def test_its_socket_may_lie_in_a_folder_of_its_agent(tmp_path: Path) -> None:
    folder = tmp_path / ("l" * 120)
    folder.mkdir()
    one = InferenceProcess(tmp_path / "models", scrubbed({"PYTHONPATH": str(ROOT)}), folder)
    with mock.patch.dict(os.environ, {INFERENCE: one.address}):
        assert await asyncio.to_thread(red_of, graph_of(tmp_path), 0.5) == 0.5
        client.disconnect()
    await one.aclose()
    assert [path.name for path in folder.iterdir()] == ["models"]


async def test_a_process_that_cannot_be_started_refuses_those_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    one = InferenceProcess(tmp_path, {})
    monkeypatch.setenv(INFERENCE, one.address)
    with pytest.raises(InferenceLost):
        await asyncio.to_thread(RemoteGraph, tmp_path / "model.onnx")
    client.disconnect()
    await one.aclose()
