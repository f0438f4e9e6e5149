"""Measures services: small requests beside bare uvicorn behind nginx, large bodies, and a cold start.

The control plane, its database, the worker and the server are processes of their own on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvloop

from infra.stack import Stack, running
from tests.bench.load import LoadConnection, Measured, run
from tests.bench.report import BenchFigure
from tests.polling import until
from webhook.config_file import load
from workers.handlers.registry import options_model

CONNECTIONS = 32
ROUNDS = 5
"""In turn, since the machine's speed drifts: the median counts."""
ROUND_SECONDS = 2.0
COLD_STARTS = 5
BODY_MIB = 1024
_MIB = 1 << 20
_CONFIG = """
[server]
listen = "127.0.0.1:0"
autoscale_seconds = 0.2
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
[pools.local]
provider = "local"
limit = 0
"""
_SERVICE = """
[pools.{name}]
provider = "local"
limit = 1
idle_seconds = {idle}
[services.{name}]
pool = "{name}"
command = ["{python}", "-m", "tests.bench.service_stand_in", "{port}"]
environment = {{ PYTHONPATH = "{root}" }}
port = {port}
concurrency = 64
body_limit_bytes = 4294967296
{way}
"""
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 0;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream bare {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{listen};
    location / {{
      proxy_pass http://bare; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to a stand-in server."""

    name: str
    url: str
    path: str
    token: str


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure all of it, where nginx is installed; else what needs no ceiling."""
    return await asyncio.to_thread(_measured, folder)


def _measured(folder: Path) -> list[BenchFigure]:
    ports = [_free_port() for _ in range(7)]
    path = folder / "yurt.toml"
    path.write_text(_config(ports))
    with running(load(path, options_model), path, folder / "state") as stack:
        figures = uvloop.run(_cold(stack))
        ways = [_Way(name, stack.url, f"/services/{name}", stack.keys.admin) for name in ("tunnel", "direct")]
        if shutil.which("nginx") is None:
            print("nginx is missing (apt-get install nginx-light): no ratios of services")
        else:
            figures += uvloop.run(_beside_bare(folder, ports, ways))
        return figures + _large(ways, stack)


def _config(ports: list[int]) -> str:
    root, python = Path(__file__).parents[2], sys.executable
    ways = {"tunnel": "", "direct": f'way = "direct"\ndirect_port = {ports[3]}', "cold": ""}
    services = [
        _SERVICE.format(name=name, port=port, way=way, python=python, root=root, idle=1 if name == "cold" else 3600)
        for (name, way), port in zip(ways.items(), ports, strict=False)
    ]
    return _CONFIG + "".join(services)


async def _beside_bare(folder: Path, ports: list[int], ways: list[_Way]) -> list[BenchFigure]:
    async with _bare(folder, ports[4], ports[5]) as bare:
        return await _small([_Way("bare", bare, "", ""), *ways])


# ── small requests ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _small(ways: list[_Way]) -> list[BenchFigure]:
    loaded: dict[str, list[Measured]] = {way.name: [] for way in ways}
    alone: dict[str, list[Measured]] = {way.name: [] for way in ways}
    for way in ways:
        await _load(way, CONNECTIONS, 0.5)
    for _ in range(ROUNDS):
        for way in ways:
            alone[way.name].append(await _load(way, 1, ROUND_SECONDS / 2))
            loaded[way.name].append(await _load(way, CONNECTIONS, ROUND_SECONDS))
    rates = {name: statistics.median(each.rate for each in runs) for name, runs in loaded.items()}
    p50 = {name: statistics.median(each.percentile_ms(0.5) for each in runs) for name, runs in alone.items()}
    targets = {"tunnel": (0.25, 4.0), "direct": (0.4, 2.0)}
    figures = [BenchFigure("bare uvicorn behind nginx, small requests, 32 connections", rates["bare"], "requests/s")]
    for name, (share, added_ms) in targets.items():
        ratio = rates[name] / rates["bare"]
        figures += [
            BenchFigure(f"service, {name}, small requests, 32 connections ÷ that", rates[name], "requests/s", ratio,
                        at_least=share),
            BenchFigure(f"service, {name}, one connection: p50 added", p50[name] - p50["bare"], "ms",
                        at_most=added_ms),
        ]  # fmt: skip
    return figures


async def _load(way: _Way, connections: int, seconds: float) -> Measured:
    opened: list[LoadConnection] = []

    async def prepare(_: int) -> object:
        connection = await LoadConnection.open(way.url, way.token)
        opened.append(connection)

        async def call() -> int:
            await connection.get(f"{way.path}/")
            return 1

        return call

    try:
        return await run(connections, prepare, seconds)  # type: ignore[arg-type]
    finally:
        for connection in opened:
            connection.close()


# ── large bodies ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _large(ways: list[_Way], stack: Stack) -> list[BenchFigure]:
    figures = []
    for way in ways:
        before = _resident(stack)
        down, up = [], []
        for _ in range(3):
            down.append(_given(way))
            up.append(_taken(way))
        grown = _resident(stack) - before
        figures += [
            BenchFigure(f"service, {way.name}, 1 GiB to the client", BODY_MIB * _MIB / min(down) / 1e6, "MB/s",
                        at_least=300),
            BenchFigure(f"service, {way.name}, 1 GiB to the server", BODY_MIB * _MIB / min(up) / 1e6, "MB/s",
                        at_least=300),
            BenchFigure(f"service, {way.name}, growth of control plane and workers", grown / 1e6, "MB", at_most=100),
        ]  # fmt: skip
    return figures


def _given(way: _Way) -> float:
    begun = time.perf_counter()
    command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-H", f"Authorization: Bearer {way.token}"]
    subprocess.run([*command, f"{way.url}{way.path}/give/{BODY_MIB}"], check=True)
    return time.perf_counter() - begun


def _taken(way: _Way) -> float:
    begun = time.perf_counter()
    with subprocess.Popen(["head", "-c", str(BODY_MIB * _MIB), "/dev/zero"], stdout=subprocess.PIPE) as zeros:
        command = ["curl", "-sS", "--fail", "-T", "-", "-H", "Expect:", "-H", f"Authorization: Bearer {way.token}"]
        done = subprocess.run(
            [*command, f"{way.url}{way.path}/take"], stdin=zeros.stdout, check=True, capture_output=True
        )
    if int(done.stdout) != BODY_MIB * _MIB:
        raise RuntimeError(f"{done.stdout!r} bytes were taken")
    return time.perf_counter() - begun


def _resident(stack: Stack) -> int:
    """Resident memory of the control plane and all workers, without the servers."""
    total = 0
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
            if (str(stack.folder).encode() in line and b"webhook" in line) or b"\0-m\0workers\0" in line:
                status = (folder / "status").read_text()
                total += int(status.partition("VmRSS:")[2].split()[0]) * 1024
    return total


# ── a cold start ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _cold(stack: Stack) -> list[BenchFigure]:
    headers = {"Authorization": f"Bearer {stack.keys.admin}"}
    taken = []
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60) as http:
        for _ in range(COLD_STARTS):
            begun = time.perf_counter()
            await _ask(http, "cold")
            taken.append(time.perf_counter() - begun)
            await until(lambda: _gone(http), seconds=60, failure="the machine is not slain")
        for name in ("tunnel", "direct"):
            await _ask(http, name)
    p50 = statistics.median(taken)
    return [BenchFigure("service, request → local machine → answer, p50", p50, "s", at_most=1.5)]


async def _ask(http: httpx.AsyncClient, service: str) -> None:
    answer = await http.get(f"/services/{service}/")
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code} {answer.text}")


async def _gone(http: httpx.AsyncClient) -> bool:
    listed = (await http.get("/v1/machines", params={"pool": "cold"})).json()
    return not listed["machines"]


# ── the ceiling ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def _bare(folder: Path, port: int, listen: int) -> AsyncIterator[str]:
    """Run bare uvicorn behind nginx. Its URL."""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, listen=listen))
    with (
        _process([sys.executable, "-m", "tests.bench.service_stand_in", str(port)]),
        _process(["nginx", "-p", str(folder), "-c", str(config)]),
    ):
        url = f"http://127.0.0.1:{listen}"
        async with httpx.AsyncClient(base_url=url) as http:
            await until(lambda: _answers(http), seconds=20, failure="nginx does not answer")
        yield url


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/")).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
