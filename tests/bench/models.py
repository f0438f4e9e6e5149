"""Measures the download of a model beside curl and boto3, from the same server on loopback.

nginx where it is installed, else a small server that sends files (sendfile). ``YURT_BENCH_MODEL_MIB`` sets the size.
Each client runs in a process of its own, in turn; the model is written to the disk's page cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.polling import wait_until
from workers.scratch import discard

if TYPE_CHECKING:
    from tests.bench.report import BenchFigure

_MIB = 1 << 20
_ROUNDS = 3
"""The fastest counts: what disturbs a run only makes it slower."""
_NGINX = """
daemon off; master_process on; worker_processes 2; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=64; root {folder}; }}
}}
"""


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure one model of 2 GiB, or of as many MiB as the variable says."""
    return await asyncio.to_thread(_measured, folder, int(os.environ.get("YURT_BENCH_MODEL_MIB", "2048")))


def _measured(folder: Path, mib: int) -> list[BenchFigure]:
    served = folder / "served" / "bucket"
    served.mkdir(parents=True)
    _write(served / "model.safetensors", mib)
    order = _published(served, folder / "order.json", mib)
    with _serving(folder / "served") as url:
        resident: list[int] = []
        clients: dict[str, Callable[[], float]] = {
            "curl": lambda: _curl(url, folder, mib * _MIB),
            "yurt": lambda: _yurt(url, order, folder / "cache", resident),
            "boto3": lambda: _boto3(url, folder, mib * _MIB),
        }
        seconds: dict[str, list[float]] = {name: [] for name in clients}
        for first in range(_ROUNDS):  # in turn, each first once: the machine's speed and its free memory drift
            for name in (*list(clients)[first % 3 :], *list(clients)[: first % 3]):
                seconds[name].append(clients[name]())
        _yurt(url, order, folder / "cache", resident, keep=True)
        again = _fetched_again(folder, url, order)
    return _figures(mib, {name: min(taken) for name, taken in seconds.items()}, max(resident), again)


def _figures(mib: int, seconds: dict[str, float], resident: int, again: int) -> list[BenchFigure]:
    from tests.bench.report import BenchFigure  # here: what it loads is no part of a client's memory

    rate = {name: mib * _MIB / taken / 1e6 for name, taken in seconds.items()}
    size = f"{mib / 1024:g} GiB"
    return [
        BenchFigure(f"curl, one stream, {size} over loopback", rate["curl"], "MB/s"),
        BenchFigure(f"boto3 download_file, {size}", rate["boto3"], "MB/s"),
        BenchFigure(
            f"model of {size} with digests ÷ curl", rate["yurt"], "MB/s", rate["yurt"] / rate["curl"], at_least=1.0
        ),
        BenchFigure("the same ÷ boto3", rate["yurt"], "MB/s", rate["yurt"] / rate["boto3"], at_least=1.5),
        BenchFigure("resident memory of its process", resident / 1e6, "MB", at_most=64),
        BenchFigure("bytes that a second worker fetches", again, "bytes", at_most=0),
    ]


def _write(path: Path, mib: int) -> None:
    block = os.urandom(_MIB)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "big") + block[8:])


def _published(served: Path, order: Path, mib: int) -> Path:
    """Write the model's manifest, and what a worker is told of the model but for the server's URL."""
    import hashlib

    from workers.models.manifest import PART_BYTES, ModelFile, ModelManifest, root_of

    digests = []
    with (served / "model.safetensors").open("rb") as file:
        while part := file.read(PART_BYTES):
            digests.append(hashlib.sha256(part).hexdigest())
    model = ModelFile(path="model.safetensors", size=mib * _MIB, parts=tuple(digests))
    manifest = ModelManifest(files=(model,)).encode()
    (served / "manifest.json").write_bytes(manifest)
    order.write_text(json.dumps({"root": root_of(manifest), "size": mib * _MIB}))
    return order


# ── servers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    if nginx := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        folder.chmod(0o755)
        folder.parent.chmod(0o755)  # its processes are another user's
        argv: Sequence[str] = (nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"))
    else:
        argv = (sys.executable, "-m", "tests.bench.models", "serve", str(folder), str(port))
    with subprocess.Popen(argv) as server:
        try:
            wait_until(lambda: _listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _serve(folder: Path, port: int) -> None:
    """Serve files and ranges of them with sendfile(2), one thread a connection."""
    import re
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class _SendsFiles(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = folder / self.path.partition("?")[0].lstrip("/")
            size = path.stat().st_size
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(found[1]), int(found[2])) if found else (0, size - 1)
            self.send_response(206 if found else 200)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if self.command == "GET":
                with path.open("rb") as file:
                    self.connection.sendfile(file, first, last + 1 - first)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), _SendsFiles).serve_forever()


# ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _curl(url: str, folder: Path, size: int) -> float:
    target = folder / "curl"
    argv = ["curl", "--silent", "--fail", "-o", str(target), f"{url}/bucket/model.safetensors"]
    taken = _timed(lambda: subprocess.run(argv, check=True), folder, size)
    target.unlink()
    return taken


def _boto3(url: str, folder: Path, size: int) -> float:
    target = folder / "boto3"
    taken = float(_client("boto3", url, str(target), str(size))["seconds"])
    target.unlink()
    return taken


def _yurt(url: str, order: Path, cache: Path, resident: list[int], *, keep: bool = False) -> float:
    """Fetch the model; return the seconds, and add its most memory to ``resident``."""
    answer = _client("yurt", url, str(order), str(cache))
    if not keep:
        wait_until(lambda: not list(cache.glob("*.journal")))
        discard(cache)
    resident.append(int(answer["resident"]))
    return float(answer["seconds"])


def _fetched_again(folder: Path, url: str, order: Path) -> int:
    """Bytes that reach this machine's loopback for a second worker: its server is gone, so none can."""
    nowhere = url.rpartition(":")[0] + ":1"
    answer = _client("yurt", nowhere, str(order), str(folder / "cache"))
    discard(folder / "cache")
    return int(answer["asked"])


def _client(*arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.models", *arguments], check=True, stdout=subprocess.PIPE, env=_environment()
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _environment() -> dict[str, str]:
    return {**os.environ, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "auto"}


def _run_yurt(url: str, order: Path, cache: Path) -> dict[str, float]:
    from workers.models.cache import ModelCache
    from workers.models.fetch import ModelFetch
    from workers.protocol import Download, ModelRef, ModelSource, ModelSources

    told = json.loads(order.read_text())
    ref = ModelRef(name="bench", root=told["root"], size=told["size"])
    asked = 0

    def sources() -> ModelSources:
        nonlocal asked
        asked += told["size"]
        file = Download(url=f"{url}/bucket/model.safetensors")
        source = ModelSource(path="model.safetensors", size=told["size"], download=file)
        return ModelSources(root=ref.root, manifest=Download(url=f"{url}/bucket/manifest.json"), files=(source,))

    taken = _timed(ModelFetch(ModelCache(cache, 0), ref, sources).run, order.parent, ref.size)
    resident = _most_resident()
    wait_until(lambda: not list(cache.glob("*.journal")))  # a process that ends earlier leaves that to a later one
    return {"seconds": taken, "resident": resident, "asked": asked}


def _most_resident() -> int:
    """Not getrusage(2): its figure is the parent's at first, which a fork inherits."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _run_boto3(url: str, target: Path, size: int) -> dict[str, float]:
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", endpoint_url=url, config=Config(s3={"addressing_style": "path"}))
    client.head_object(Bucket="bucket", Key="model.safetensors")  # loads what is loaded at the first call
    taken = _timed(lambda: client.download_file("bucket", "model.safetensors", str(target)), target.parent, size)
    return {"seconds": taken}


def _timed(call: Callable[[], object], folder: Path, size: int) -> float:
    """Seconds of a call that writes ``size`` bytes below ``folder``.

    A virtual machine gives free memory back to its host within two seconds, and whichever process writes next waits for
    it, at a tenth of the speed. So as much is written and removed right before.
    """
    _write(folder / "warm", size // _MIB)
    (folder / "warm").unlink()
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def _main(part: str, *arguments: str) -> None:
    match part:
        case "serve":
            _serve(Path(arguments[0]), int(arguments[1]))
        case "yurt":
            print(json.dumps(_run_yurt(arguments[0], Path(arguments[1]), Path(arguments[2]))))
        case _:
            print(json.dumps(_run_boto3(arguments[0], Path(arguments[1]), int(arguments[2]))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
