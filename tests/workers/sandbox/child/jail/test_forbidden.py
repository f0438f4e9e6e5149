"""A list of forbidden things, each tried in a jailed process of each kind of handler, as root and as another user."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.sandbox.child.jail.forbidden import (
    FILES,
    KERNEL,
    NETWORK,
    PROCESSES,
    PROGRAMS,
    SOCKETS,
    Attempt,
    Surroundings,
)
from tests.workers.sandbox.child.jail.jailed import outcome
from tests.workers.sandbox.jobs import REQUEST
from workers.sandbox.child import jail
from workers.sandbox.child.jail.handler_policy import policy_of
from workers.sandbox.messages import JailRules, JobRequest

pytestmark = [
    pytest.mark.skipif(bool(jail.support().missing), reason=jail.support().missing or "has a jail"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

_REFUSED = {errno.errorcode[number] for number in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV)}
"""A link or a move between folders with different rights fails as between file systems."""
_ALWAYS = {**FILES, **PROCESSES, **KERNEL, **SOCKETS}
_FORBIDDEN: Mapping[str, Mapping[str, Attempt]] = {
    "photo": {**_ALWAYS, **NETWORK, **PROGRAMS},
    "python": {**_ALWAYS, **NETWORK},
    "command": {**_ALWAYS, **NETWORK},
    "network": _ALWAYS,
}
USERS = [0, 1_000] if os.getuid() == 0 else [os.getuid()]


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    """A folder that was not given, a server, sockets, and another process, all of the user that is root here."""
    outside, own = tmp_path / "outside", tmp_path / "own"
    outside.mkdir()
    own.mkdir()
    (outside / "secret").write_text("secret")
    name = f"yurt-{secrets.token_hex(8)}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as victim,
    ):
        by_path.bind(str(outside / "s"))
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield Surroundings(outside, own, victim.pid, server.getsockname(), str(outside / "s"), name)
        victim.kill()


def _request(kind: str, around: Surroundings) -> JobRequest:
    rules = JailRules(mode="on", read=[], write=[], network=kind == "network", ports=[9])
    own = str(around.own)
    named = "python" if kind == "network" else kind
    return replace(REQUEST, kind=named, options={}, input=f"{own}/input", output=own, temporary=own, sandbox=rules)


def _owned_by(user: int, around: Surroundings) -> None:
    for path in (around.outside, around.own, around.secret, Path(around.path)):
        os.chown(path, user, -1)
    for parent in list(around.own.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", _FORBIDDEN)
def test_each_is_refused(kind: str, user: int, around: Surroundings) -> None:
    if os.getuid() == 0:
        _owned_by(user, around)
    policy = policy_of(_request(kind, around))
    came_to = {
        name: outcome(policy, lambda attempt=attempt: attempt(around), user=user)  # type: ignore[misc]
        for name, attempt in _FORBIDDEN[kind].items()
    }
    assert {name: what for name, what in came_to.items() if what not in _REFUSED} == {}
    assert around.secret.read_text() == "secret"


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user is refused most of it anyway")
def test_without_a_jail_root_is_refused_little_of_it(around: Surroundings) -> None:
    everything = {**_ALWAYS, **NETWORK, **PROGRAMS}
    came_to = {name: outcome(None, lambda attempt=attempt: attempt(around)) for name, attempt in everything.items()}  # type: ignore[misc]
    refused = {name for name, what in came_to.items() if what in _REFUSED}
    assert len(refused) < len(everything) / 4, refused


def test_the_list_is_long() -> None:
    assert len({**_ALWAYS, **NETWORK, **PROGRAMS}) >= 60
