"""Two hosts reached by ssh, a real sshd's or a fake one's, with stub workers as machines."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.polling import until, wait_until
from tests.webhook.fleet.providers.contract import OWNER
from tests.webhook.fleet.providers.local_place import STUB, StubWorkers
from webhook.fleet.providers import Instance
from webhook.fleet.providers.exec import ExecProvider
from webhook.provider_settings.exec import ExecSettings

FAKE_SSH = (sys.executable, str(Path(__file__).with_name("fake_ssh.py")))
SSHD = "/usr/sbin/sshd"


@dataclass
class SshPlace(StubWorkers):
    ssh: Sequence[str] = FAKE_SSH
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    machines: int = 8

    def write_hosts(self, *names: str) -> None:
        """The file of hosts, which the command reads at every call."""
        lines = [f"ssh = {json.dumps(list(self.ssh))}"]
        for name in names or self.hosts:
            lines += [f'[hosts."{name}"]', f'address = "{name}"', "usd_per_hour = 0.05"]
            lines += [f"machines = {self.machines}", f"worker = {json.dumps(list(STUB))}"]
        (self.folder / "hosts.toml").write_text("\n".join(lines) + "\n")

    def provider(self, owner: str = OWNER) -> ExecProvider:
        settings = ExecSettings(
            kind="exec",
            command=(sys.executable, "-m", "infra.exec.ssh_hosts", str(self.folder / "hosts.toml")),
            rented=False,
            lag_seconds=0,
            inherit=("FAKE_SSH",) if self.ssh is FAKE_SSH else (),
            environment={"STUB_FOLDER": str(self.folder / "started")},
        )
        return ExecProvider(owner, "hosts", settings)

    async def kill(self, instance: Instance) -> None:
        os.kill(int(instance.ref.rpartition(":")[2]), signal.SIGKILL)

    def knob(self, name: str, on: bool = True) -> None:
        """``HOST.down`` or ``HOST.lost``. See `tests.infra.exec.fake_ssh`."""
        path = self.folder / name
        path.touch() if on else path.unlink()

    def calls(self) -> list[list[str]]:
        """Every command line of ssh."""
        return [json.loads(line) for line in (self.folder / "argv.jsonl").read_text().splitlines()]


@asynccontextmanager
async def ssh_place(folder: Path, **options: object) -> AsyncIterator[SshPlace]:
    """A place of its own, left empty. ``FAKE_SSH`` has to name the folder."""
    (folder / "started").mkdir()
    place = SshPlace(folder, **options)  # type: ignore[arg-type]
    place.write_hosts()
    try:
        yield place
    finally:
        for path in (folder / "started").glob("*.json"):
            pid = json.loads(path.read_text())["pid"]
            if await place.exists(path.stem):
                os.kill(pid, signal.SIGKILL)
        await until(lambda: not any((folder / "started").glob("*.new")))


@contextmanager
def real_sshd(folder: Path) -> Iterator[Sequence[str]]:
    """An sshd on a free port of this machine that takes one key; the command that reaches it."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    port = _free_port()
    options = {
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "ListenAddress": f"127.0.0.1:{port}",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE) as daemon:
        try:
            key = ("ssh", "-F", "none", "-i", str(folder / "user"), "-p", str(port), "-o", "HostName=127.0.0.1")
            trust = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder / 'known'}")
            wait_until(lambda: _succeeds(*key, *trust, "here", "true"))
            yield (*key, *trust)
        finally:
            daemon.kill()


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
