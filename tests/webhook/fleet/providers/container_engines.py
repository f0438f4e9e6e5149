"""Runs Podman or Docker with containers and images of its own, and a small image whose worker only waits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.polling import wait_until

STUB_IMAGE = "localhost/stub-worker:latest"
IMAGE_VARIABLE = "YURT_TEST_IMAGE"
"""Names an image that was built from the Dockerfile, in the machine's own images: see ``.ci/containers``."""
_STUB = """#!/bin/sh
echo "started with $*"
case "$STUB_DEEDS" in *chatty*) i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done;; esac
case "$STUB_DEEDS" in *broken*) echo "it broke" >&2; exit 3;; esac
case "$STUB_DEEDS" in *stubborn*) trap '' TERM;; *) trap 'exit 0' TERM;; esac
while :; do sleep 600 & wait; done
"""
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
[engine]
{engine}
"""


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """An engine that serves the Docker API, with its program for people."""

    program: str
    """``podman`` or ``docker``."""
    host: str
    """Where it listens, as in the settings."""
    flags: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: Path | None = None) -> str:
        """Run the program with the engine's containers. Returns what it printed."""
        with (stdin or Path(os.devnull)).open("rb") as given:
            done = subprocess.run(
                [self.program, *self.flags, *arguments],
                env=self.environment,
                stdin=given,
                capture_output=True,
                timeout=100,
                check=False,
                text=True,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{self.program} {' '.join(arguments)}: {done.stderr[-500:]}")
        return done.stdout

    def exists(self, name: str) -> bool:
        """Whether there is such a container."""
        return name in self.run("ps", "--all", "--format", "{{.Names}}").split()

    def remove_containers(self, owner: str = "") -> None:
        """Remove all containers, or those of one installation."""
        filters = [f"--filter=label=yurt.owner={owner}"] if owner else []
        if left := self.run("ps", "--all", "--quiet", *filters).split():
            self.run("rm", "--force", "--volumes", *left)


def missing(program: str) -> str:
    """Why an engine cannot be run here. Empty: it is there."""
    daemon = {"docker": "dockerd"}.get(program, program)
    if not all(map(shutil.which, (program, daemon))):
        return f"{daemon} is not installed: see .ci/containers"
    return "dockerd needs root" if program == "docker" and os.geteuid() != 0 else ""


@contextmanager
def running_engine(program: str) -> Iterator[ContainerEngine]:
    """An engine with nothing in it but the stub's image. Skips the test where this machine can run no container."""
    if why := missing(program):
        pytest.skip(why)
    with {"podman": podman, "docker": docker}[program]() as found:
        _skip_without_containers(found)
        yield found


@contextmanager
def podman(*, own: bool = True) -> Iterator[ContainerEngine]:
    """Podman with nothing in it but the stub's image; not ``own``: with the images of this machine."""
    with _folder() as folder:
        found = _made(folder, own=own)
        if own:
            _import_stub(found, folder)
        command = ["podman", *found.flags, "system", "service", "--time=0", found.host]
        with _serving(command, found, folder):
            yield found
            if own:
                found.remove_containers()
        if own:
            found.run("rmi", "--all", "--force")


@contextmanager
def docker() -> Iterator[ContainerEngine]:
    """Docker with nothing in it but the stub's image, and without networks of its own."""
    with _folder() as folder:
        host = f"unix://{folder}/s"
        found = ContainerEngine("docker", host, (), {**os.environ, "DOCKER_HOST": host})
        places = [f"--{kind}={folder}/{kind}" for kind in ("data-root", "exec-root", "pidfile")]
        command = ["dockerd", f"--host={host}", *places, "--iptables=false", "--ip6tables=false", "--bridge=none"]
        with _serving(command, found, folder):
            _import_stub(found, folder)
            yield found
            found.remove_containers()
        # The network namespace of "host", which dockerd leaves mounted.
        subprocess.run(["umount", f"{folder}/exec-root/netns/default"], check=False, capture_output=True)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="yurt-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _made(folder: Path, *, own: bool) -> ContainerEngine:
    lines = ['runtime = "runc"'] if shutil.which("runc") else []
    # File locks: those in shared memory belong to all of a user's containers.
    lines += ['lock_type = "file"', f'tmp_dir = "{folder}/tmp"', 'events_logger = "file"'] if own else []
    (folder / "containers.conf").write_text(_CONTAINERS.format(engine="\n".join(lines)))
    (folder / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    environment = {
        **os.environ,
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_REGISTRIES_CONF": f"{folder}/registries.conf",
    }
    flags = (f"--root={folder}/root", f"--runroot={folder}/run") if own else ()
    return ContainerEngine("podman", f"unix://{folder}/s", flags, environment)


@contextmanager
def _serving(command: Sequence[str], found: ContainerEngine, folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(command, env=found.environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: (folder / "s").exists() or service.poll() is not None, seconds=60)
        if service.poll() is not None:
            _cannot(f"{command[0]} ended: {(folder / 'log').read_text()[-500:]}")
        yield
    finally:
        service.terminate()
        with suppress(subprocess.TimeoutExpired):
            service.wait(30)
        service.kill()
        service.wait()


def _import_stub(found: ContainerEngine, folder: Path) -> None:
    changes = ("--change", 'ENTRYPOINT ["/bin/sh", "/stub"]', "--change", "ENV PATH=/bin")
    found.run("import", *changes, "-", STUB_IMAGE, stdin=_stub(folder))


def _stub(folder: Path) -> Path:
    """A file system of this machine's shell, with the libraries that it is linked to."""
    script, archive = folder / "stub", folder / "stub.tar"
    script.write_text(_STUB)
    (folder / "scratch").mkdir(mode=0o1777)
    programs = {f"bin/{program}": Path(shutil.which(program) or program).resolve() for program in ("sh", "sleep")}
    libraries = {path.lstrip("/"): Path(path).resolve() for found in programs.values() for path in _linked(found)}
    with tarfile.open(archive, "w") as tar:
        tar.add(script, "stub")
        tar.add(folder / "scratch", "tmp")
        for inside, path in {**programs, **libraries}.items():
            tar.add(path, inside)
    return archive


def _linked(program: Path) -> list[str]:
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", told)


def _skip_without_containers(found: ContainerEngine) -> None:
    try:
        options = ("--rm", "--init", "--read-only", "--network=host", "--entrypoint=/bin/sh")
        found.run("run", *options, STUB_IMAGE, "-c", "exit 0")
    except RuntimeError as error:
        _cannot(str(error))


def _cannot(why: str) -> None:
    """Skip a test on a machine that cannot run containers; fail on one that was prepared for them."""
    if os.environ.get(IMAGE_VARIABLE):
        raise RuntimeError(why)
    pytest.skip(f"no containers can be run here: {why}")
