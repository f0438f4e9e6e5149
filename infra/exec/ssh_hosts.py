"""Machines reached by ssh, as a command for the exec provider: workers as processes on hosts that a file lists.

Run by Yurt as ``python -m infra.exec.ssh_hosts hosts.toml VERB``, with a message on stdin. Nothing of Yurt has to be on
the hosts but the worker's command; ``machine.sh`` is sent with each call. A host needs ssh with a key, ``flock`` and
``setsid`` (util-linux). docs/exec.md has an example.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

OFFER_GONE, CONFIGURATION, UNKNOWN_VERB, FAILED = 69, 78, 64, 1
SSH_FAILED = 255
"""ssh's own exit status where the host could not be reached."""
CALL_SECONDS = 20
_SCRIPT = Path(__file__).with_name("machine.sh")
_LABEL = re.compile(r"[a-z0-9]{1,16}-[a-z0-9-]{1,80}")
_LINE = re.compile(rf"({_LABEL.pattern}) (\d+)")

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Host:
    """One host of the file."""

    name: str
    address: str
    """As ssh takes it: ``user@host`` or a name of ``~/.ssh/config``."""
    usd_per_hour: str
    machines: int
    """Workers that may run there at once."""
    worker: tuple[str, ...]
    """The worker's command there."""
    ssh: tuple[str, ...]

    def call(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``machine.sh`` on the host."""
        remote = shlex.join(["sh", "-c", _SCRIPT.read_text(encoding="utf-8"), "machine.sh", *arguments])
        options = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3")
        try:
            return subprocess.run(
                [*self.ssh, *options, "--", self.address, remote],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=CALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess((), SSH_FAILED, "", f"no answer within {CALL_SECONDS} s")


class Hosts:
    """All hosts of a file, asked at the same time."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = {host.name: host for host in hosts}

    def offers(self, message: Message) -> Message:
        """One offer for each host that answers and has room."""
        offers = []
        for host, answer in self._all("count", message["owner"]):
            if answer.returncode == 0 and int(answer.stdout) < host.machines:
                offers.append({"id": host.name, "usd_per_hour": host.usd_per_hour, "host": host.name})
        return {"offers": offers}

    def mint(self, message: Message) -> Message:
        """Start a worker on the offer's host."""
        host = self._hosts.get(message["offer"]["id"])
        if host is None:
            end(OFFER_GONE, "the host is no longer in the file")
        environment = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in message["environment"].items())
        label = checked(message["label"])
        answer = host.call("mint", label, str(host.machines), *host.worker, stdin=environment)
        if answer.returncode:
            end(OFFER_GONE if answer.returncode == SSH_FAILED else answer.returncode, why(host, answer))
        return {"ref": f"{host.name}:{answer.stdout.strip()}"}

    def list(self, message: Message) -> Message:
        """All workers of all hosts. Without an answer of one of them there is no list: its workers may still run."""
        instances = []
        for host, answer in self._answered("list", message["owner"]):
            for line in answer.stdout.splitlines():
                if not (found := _LINE.fullmatch(line)):
                    end(FAILED, f"{host.name} printed more than its list: does its shell greet at login?")
                instances.append({"label": found[1], "ref": f"{host.name}:{found[2]}"})
        return {"instances": instances}

    def slay(self, message: Message) -> Message:
        """End a worker, on whichever host it runs."""
        list(self._answered("slay", checked(message["label"])))
        return {}

    def logs(self, message: Message) -> Message:
        """The end of a worker's log, from the hosts that answer."""
        answers = self._all("logs", checked(message["label"]))
        return {"text": "".join(f"{host.name}: {each.stdout}" for host, each in answers if each.stdout)}

    def check(self, message: Message) -> Message:
        """Whether each host answers."""
        return {"findings": [_finding(host, answer) for host, answer in self._all("count", message["owner"])]}

    def _all(self, *arguments: str) -> Iterator[tuple[Host, subprocess.CompletedProcess[str]]]:
        with ThreadPoolExecutor(max_workers=32) as pool:
            yield from zip(
                self._hosts.values(), pool.map(lambda host: host.call(*arguments), self._hosts.values()), strict=True
            )

    def _answered(self, *arguments: str) -> Iterator[tuple[Host, subprocess.CompletedProcess[str]]]:
        for host, answer in self._all(*arguments):
            if answer.returncode:
                end(FAILED, why(host, answer))
            yield host, answer


def _finding(host: Host, answer: subprocess.CompletedProcess[str]) -> Message:
    if answer.returncode == 0:
        return {"ok": True, "message": f"{host.name} answers, and runs {answer.stdout.strip()} of {host.machines}"}
    hint = f"try: {shlex.join([*host.ssh, host.address, 'true'])}"
    return {"ok": False, "message": why(host, answer), "hint": hint}


def why(host: Host, answer: subprocess.CompletedProcess[str]) -> str:
    """Say what a host answered: the last line of its errors."""
    lines = answer.stderr.strip().splitlines()
    return f"{host.name}: {lines[-1] if lines else f'exit status {answer.returncode}'}"


def checked(label: str) -> str:
    """Return a label that may stand in a file's name."""
    return label if _LABEL.fullmatch(label) else end(CONFIGURATION, f"{label!r} is no label")


def end(status: int, reason: str) -> NoReturn:
    """Print the reason for Yurt, and exit."""
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(status)


def read_hosts(path: Path) -> Hosts:
    """Read the file of hosts; exits where it is wrong."""
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        return Hosts([_host(name, table, file) for name, table in file["hosts"].items()])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        end(CONFIGURATION, f"{path}: {error}")
    except KeyError as error:
        end(CONFIGURATION, f"{path}: {error} is missing")


def _host(name: str, table: Mapping[str, Any], file: Mapping[str, Any]) -> Host:
    return Host(
        name,
        address=table["address"],
        usd_per_hour=str(table["usd_per_hour"]),
        machines=int(table.get("machines", 1)),
        worker=tuple(table.get("worker", ["yurt", "worker"])),
        ssh=tuple(file.get("ssh", ["ssh"])),
    )


def main() -> None:
    """Read a message, do what its verb says, print the answer."""
    if len(sys.argv) != 3:
        end(UNKNOWN_VERB, "usage: python -m infra.exec.ssh_hosts hosts.toml VERB")
    hosts = read_hosts(Path(sys.argv[1]))
    verbs: Mapping[str, Callable[[Message], Message]] = {
        "offers": hosts.offers,
        "mint": hosts.mint,
        "list": hosts.list,
        "slay": hosts.slay,
        "logs": hosts.logs,
        "check": hosts.check,
    }
    if (verb := verbs.get(sys.argv[2])) is None:
        end(UNKNOWN_VERB, f"there is no verb {sys.argv[2]!r}")
    json.dump(verb(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
