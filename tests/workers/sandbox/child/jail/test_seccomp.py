"""What landlock leaves open and the filter has to refuse: each in a real process, beside a real victim."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers.sandbox.child.jail import JailPolicy, seccomp
from workers.sandbox.child.jail.libc import libc
from workers.sandbox.child.jail.system_calls import MACHINES

pytestmark = [
    pytest.mark.skipif(bool(seccomp.missing()), reason=seccomp.missing() or "has seccomp"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

PHOTO = JailPolicy()
PROGRAMS = JailPolicy(programs=True)
NETWORK = JailPolicy(programs=True, network=True, ports=(443,))
BOTH = (PHOTO, PROGRAMS)
_OLD, _NEW = 1, 6
"""Versions of landlock without and with scopes of signals."""
_NO_NEW_PRIVS = 38
_MPTCP, _FASTOPEN, _F_SETSIG = 262, 0x20000000, 10


def _result(policy: JailPolicy, act: Callable[[], object], version: int) -> str:
    """What the call came to in a process of its own under the filter: ``done``, or the name of its error."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
            seccomp.restrict(policy, landlock=version)
            act()
            os.write(writing, b"done")
        except OSError as error:
            os.write(writing, errno.errorcode[error.errno or 0].encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        os.waitpid(pid, 0)
        return said.read()


@pytest.fixture
def victim() -> Iterator[int]:
    """Another process of the same user."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("policy", BOTH)
def test_others_cannot_be_ended_by_a_limit_of_no_processor_time(policy: JailPolicy, victim: int) -> None:
    assert _result(policy, lambda: resource.prlimit(victim, resource.RLIMIT_CPU, (0, 0)), _NEW) == "EPERM"


@pytest.mark.parametrize("policy", BOTH)
def test_others_cannot_be_slowed_down(policy: JailPolicy, victim: int) -> None:
    def idle() -> None:
        os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0))

    assert _result(policy, idle, _NEW) == "EPERM"
    assert _result(policy, lambda: os.setpriority(os.PRIO_PROCESS, victim, 19), _NEW) == "EPERM"
    assert _result(policy, lambda: os.setpriority(os.PRIO_USER, 0, 19), _NEW) == "EPERM"


def test_a_program_may_lower_its_own_priority_and_limits() -> None:
    assert _result(PROGRAMS, lambda: os.nice(1), _NEW) == "done"
    assert _result(PROGRAMS, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)), _NEW) == "done"


@pytest.mark.parametrize("policy", BOTH)
def test_signals_to_others_are_refused_where_landlock_does_not_refuse_them(policy: JailPolicy, victim: int) -> None:
    def kernel_sends() -> None:
        reading, _ = os.pipe()
        fcntl.fcntl(reading, fcntl.F_SETOWN, victim)

    def chosen_signal() -> None:
        fcntl.fcntl(os.pipe()[0], _F_SETSIG, signal.SIGKILL)

    for act in (lambda: os.kill(victim, 0), lambda: os.kill(-1, 0), kernel_sends, chosen_signal):
        assert _result(policy, act, _OLD) == "EPERM"
    assert _result(policy, lambda: os.kill(os.getpid(), 0), _OLD) == "done"


def test_programs_may_signal_what_they_start_where_landlock_looks_at_it() -> None:
    assert _result(PROGRAMS, lambda: os.kill(os.getppid(), 0), _NEW) == "done"


@pytest.mark.parametrize("policy", BOTH)
def test_files_are_not_cut_where_landlock_does_not_see_it(policy: JailPolicy, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("text")
    assert _result(policy, lambda: os.truncate(file, 0), _OLD) == "EPERM"
    assert file.read_text() == "text"


@pytest.mark.parametrize("policy", BOTH)
def test_shared_memory_of_others_cannot_be_attached(policy: JailPolicy) -> None:
    def found() -> None:
        if libc.shmget(0x59555254, 4096, 0) < 0:
            raise OSError(ctypes.get_errno(), "shmget")

    made = libc.shmget(0x59555254, 4096, 0o1600)
    try:
        assert _result(policy, found, _NEW) == "EPERM"
    finally:
        libc.shmctl(made, 0, None)


@pytest.mark.parametrize("policy", [*BOTH, NETWORK])
def test_no_datagram_reaches_a_socket_by_its_path(policy: JailPolicy) -> None:
    assert _result(policy, lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM), _NEW) == "EPERM"
    assert _result(policy, lambda: socket.socket(socket.AF_UNIX), _NEW) == "EPERM"


def test_programs_have_connected_pairs() -> None:
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC
    assert _result(PROGRAMS, lambda: socket.socketpair(socket.AF_UNIX, kind), _NEW) == "done"


def test_tcp_cannot_go_past_the_ports_that_landlock_looks_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert _result(NETWORK, lambda: socket.socket().sendto(b"x", _FASTOPEN, address), _NEW) == "EPERM"
    assert _result(NETWORK, lambda: socket.socket(proto=_MPTCP), _NEW) == "EPERM"
    assert _result(NETWORK, lambda: socket.socket().listen(), _NEW) == "EPERM"
    assert _result(NETWORK, socket.socket, _NEW) == "done"


def test_every_named_call_has_a_number_on_some_machine() -> None:
    known = {name for machine in MACHINES.values() for name in machine.numbers}
    assert {*seccomp.NEVER, *seccomp.NO_PROGRAMS, *seccomp.NO_CONNECTIONS, *seccomp.SIGNALS_OTHERWISE} <= known


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("policy", [*BOTH, NETWORK])
@pytest.mark.parametrize("version", [_OLD, _NEW])
def test_the_filter_is_made_for_every_machine(name: str, policy: JailPolicy, version: int) -> None:
    program = seccomp.assembled(policy, name, own=1, landlock=version)
    assert 0 < len(program) // 8 < 4_096
