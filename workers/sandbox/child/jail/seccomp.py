"""Restricts a process by seccomp(2): which system calls it may make.

The filter is a program for the kernel's packet filter (``<linux/bpf_common.h>``, ``<linux/seccomp.h>``) over the number
and the arguments of each call. What it refuses fails with EPERM, as it would for want of privileges; calls that a newer
kernel has and this list does not know fail with ENOSYS, as on an older kernel. It holds for every process started later
and cannot be taken off.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from workers.sandbox.child.jail.libc import libc
from workers.sandbox.child.jail.policy import JailError, JailPolicy
from workers.sandbox.child.jail.system_calls import MACHINES, SystemCallTable

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_REFUSED = _ERRNO | errno.EPERM

_LOAD, _EQUAL, _GREATER_OR_EQUAL, _ANY_BIT, _MASK, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
"""Bit of the numbers of x86-64's second ABI, by which calls could be made past the others."""

_INTERNET = (2, 10)
"""``AF_INET``, ``AF_INET6``."""
_UNIX = (1,)
_CONNECTED = (1, 5)
"""``SOCK_STREAM``, ``SOCK_SEQPACKET``. One of a pair of datagram sockets can send to any other by its path."""
_SOCKET_TYPE = 0xF
"""Bits of a socket's type beside its flags."""
_TCP_AND_UDP = (0, 6, 17)
"""Landlock looks at TCP alone: MPTCP and SCTP would go past it."""
_MSG_FASTOPEN = 0x20000000
"""Connects while it sends, past landlock, which looks at ``connect`` alone."""
_FLAGS_OF_SENDING = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
_CLONE_THREAD, _CLONE_NAMESPACES = 0x00010000, 0x7E020080
"""``CLONE_NEWTIME`` | ``NEWNS`` | ``NEWCGROUP`` | ``NEWUTS`` | ``NEWIPC`` | ``NEWUSER`` | ``NEWPID`` | ``NEWNET``."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""Put characters into a terminal's input."""

NEVER = (
    # Other processes.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
    # The kernel's own large surfaces.
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl",
    "add_key", "request_key", "fanotify_init", "fanotify_mark", "lookup_dcookie", "modify_ldt", "uselib", "vmsplice",
    "move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node", "seccomp", "syslog",
    # Named by a number, and of all processes of the user: the embedded PostgreSQL's too.
    "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "semtimedop",
    "mq_open", "mq_unlink",
    # A socket that listens without a bind takes a port that landlock never sees.
    "listen", "accept", "accept4",
    # Namespaces, mounts, and files past their paths.
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "listmount", "statmount", "name_to_handle_at",
    "open_by_handle_at", "mknod", "mknodat",
    # The machine.
    "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff",
    "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_adjtime",
    "adjtimex", "sethostname", "setdomainname", "iopl", "ioperm", "vhangup", "nfsservctl", "personality",
    # Attributes and owners of files, which landlock does not look at.
    "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr",
    "removexattrat", "chown", "fchown", "lchown", "fchownat", "file_setattr",
)  # fmt: skip
"""System calls that no handler needs."""
NO_PROGRAMS = (
    "execve", "execveat", "fork", "vfork", "pidfd_open", "setpriority", "ioprio_set",
    "sched_setscheduler", "sched_setattr", "sched_setparam", "setpgid", "setsid", "memfd_create", "memfd_secret",
    "inotify_init", "inotify_init1", "inotify_add_watch", "chmod", "fchmod", "fchmodat", "fchmodat2", "utime",
    "utimes", "futimesat", "utimensat", "flock", "socketpair", "bind",
)  # fmt: skip
"""Further ones that a handler does not need which starts no programs."""
NO_CONNECTIONS = ("connect", "sendto", "sendmsg", "sendmmsg")
"""Further ones that it does not need where it may not use the network either."""
_SIGNALS_TO = ("kill", "tgkill", "tkill")
SIGNALS_OTHERWISE = ("pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
"""Signals with more than a number, or to what is no number."""
_OWNER_OF_SIGNALS = (8, 10, 15)
"""``F_SETOWN``, ``F_SETSIG``, ``F_SETOWN_EX``: the kernel then sends any signal to any process."""
_OWNER_BY_IOCTL = (0x8901, 0x8902)
"""``FIOSETOWN``, ``SIOCSPGRP``: the same."""
_OF_ITSELF = {"sched_setscheduler": 0, "sched_setparam": 0, "sched_setattr": 0, "setpriority": 1, "ioprio_set": 1}
"""Calls that slow processes of the same user down, and the argument that names one; 0 is the caller."""
_OF_ONE = {"setpriority": (0, 1), "ioprio_set": (1, 2)}
"""The first argument of those of them that could name all processes of the user."""
_FIRST_TRUNCATE, _FIRST_SCOPES = 3, 6
"""Version of landlock from which it answers for ``truncate``, and for signals to others."""


@dataclass(frozen=True, slots=True)
class _Instruction:
    code: int
    value: int
    then: int = 0
    otherwise: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.then, self.otherwise, self.value)


def missing() -> str:
    """Return why there can be no filter here; empty where there can be one."""
    if sys.platform != "linux":
        return "seccomp is a part of Linux"
    if platform.machine() not in MACHINES:
        return f"the system calls of {platform.machine()} are not known"
    # EFAULT: it would have read the filter. EINVAL: it has no filters.
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return "" if ctypes.get_errno() == errno.EFAULT else "the kernel has no seccomp filters"


def restrict(policy: JailPolicy, *, landlock: int) -> None:
    """Restrict this process, which has no-new-privileges. Raises JailError.

    ``landlock`` is the version that holds beside it: what an older one leaves open is refused here.
    """
    program = assembled(policy, platform.machine(), own=os.getpid(), landlock=landlock)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and, aligned, where they are.
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(head), 0, 0) != 0:
        raise JailError(f"seccomp refuses the filter: {os.strerror(ctypes.get_errno())}")


def assembled(policy: JailPolicy, machine: str, *, own: int, landlock: int) -> bytes:
    """Return the filter's instructions for a process whose id is ``own``, beside that version of landlock."""
    of_own = _of_own(policy, MACHINES[machine], own, landlock)
    return (
        fixed(machine, landlock, programs=policy.programs, network=policy.network)
        + b"".join(_packed(of_own))
        + _Instruction(_RETURN, _ALLOW).packed()
    )


@cache
def fixed(machine: str, landlock: int, *, programs: bool, network: bool) -> bytes:
    """Return the filter's beginning, which is the same for every process. Kept: a template asks before it forks."""
    table = MACHINES[machine]
    head = [
        _Instruction(_LOAD, _ARCHITECTURE),
        *_when(_EQUAL, table.architecture, otherwise=_KILL),
        _Instruction(_LOAD, _NUMBER),
    ]
    if table.second_abi:
        head += _when(_GREATER_OR_EQUAL, _X32, then=_REFUSED)
    head += _when(_GREATER_OR_EQUAL, table.first_unknown, then=_ERRNO | errno.ENOSYS)
    return b"".join(_packed([head, *_rules(table, landlock, programs=programs, network=network)]))


def _packed(rules: Iterable[list[_Instruction]]) -> Iterator[bytes]:
    for rule in rules:
        for instruction in rule:
            yield instruction.packed()


def _rules(machine: SystemCallTable, landlock: int, *, programs: bool, network: bool) -> Iterator[list[_Instruction]]:
    unneeded = () if programs else (*NO_PROGRAMS, *(() if network else NO_CONNECTIONS))
    for name in (*NEVER, *unneeded):
        yield from _never(machine, name)
    # Its flags lie in memory, where no filter sees them: libraries take clone in its place.
    yield _when(_EQUAL, machine.numbers["clone3"], then=_ERRNO | errno.ENOSYS)
    yield _on(machine.numbers["clone"], 0, _when(_ANY_BIT, _CLONE_NAMESPACES, then=_REFUSED))
    yield _unless(machine, "ioctl", 1, (_TIOCSTI, _TIOCLINUX))
    yield from _of_sockets(machine, network=network)
    if not programs:
        yield _on(machine.numbers["clone"], 0, _when(_ANY_BIT, _CLONE_THREAD, otherwise=_REFUSED))
    if landlock < _FIRST_TRUNCATE:
        yield from _never(machine, "truncate")


def _of_own(policy: JailPolicy, machine: SystemCallTable, own: int, landlock: int) -> Iterator[list[_Instruction]]:
    yield from _of_other_processes(policy, machine, own)
    if landlock < _FIRST_SCOPES or not policy.programs:
        yield from _of_signals(machine, own)


def _of_sockets(machine: SystemCallTable, *, network: bool) -> Iterator[list[_Instruction]]:
    yield _only(machine, "socket", 0, _INTERNET if network else ())
    yield _only(machine, "socket", 2, _TCP_AND_UDP)
    yield _only(machine, "socketpair", 0, _UNIX)
    yield _only(machine, "socketpair", 1, _CONNECTED, mask=_SOCKET_TYPE)
    for name, flags in _FLAGS_OF_SENDING.items():
        yield _on(machine.numbers[name], flags, _when(_ANY_BIT, _MSG_FASTOPEN, then=_REFUSED))


def _of_other_processes(policy: JailPolicy, machine: SystemCallTable, own: int) -> Iterator[list[_Instruction]]:
    """Refuse limits and priorities of others. A limit of no processor time ends a process as SIGKILL does."""
    yield _only(machine, "prlimit64", 0, (0, own))
    for name, argument in _OF_ITSELF.items():
        yield _only(machine, name, argument, (0, own))
    for name, values in _OF_ONE.items():
        yield _only(machine, name, 0, values)
    if not policy.programs:
        yield _only(machine, "sched_setaffinity", 0, (0, own))


def _of_signals(machine: SystemCallTable, own: int) -> Iterator[list[_Instruction]]:
    """Refuse signals to others, also to processes that this one starts: a filter cannot tell which these are."""
    for name in SIGNALS_OTHERWISE:
        yield from _never(machine, name)
    for name in _SIGNALS_TO:
        yield _only(machine, name, 0, (own,))
    yield _unless(machine, "fcntl", 1, _OWNER_OF_SIGNALS)
    yield _unless(machine, "ioctl", 1, _OWNER_BY_IOCTL)


def _never(machine: SystemCallTable, name: str) -> Iterator[list[_Instruction]]:
    """Refuse a call, where this kind of machine has it."""
    if (number := machine.numbers.get(name)) is not None:
        yield _when(_EQUAL, number, then=_REFUSED)


def _only(
    machine: SystemCallTable, name: str, argument: int, values: Sequence[int], *, mask: int | None = None
) -> list[_Instruction]:
    """Refuse a call unless the argument, or its bits in ``mask``, is one of these values."""
    masked = [] if mask is None else [_Instruction(_MASK, mask)]
    allowed = [_Instruction(_EQUAL, value, then=len(values) - place) for place, value in enumerate(values)]
    return _on(machine.numbers[name], argument, [*masked, *allowed, _Instruction(_RETURN, _REFUSED)])


def _unless(machine: SystemCallTable, name: str, argument: int, values: Sequence[int]) -> list[_Instruction]:
    """Refuse a call where the argument is one of these values."""
    refused = [instruction for value in values for instruction in _when(_EQUAL, value, then=_REFUSED)]
    return _on(machine.numbers[name], argument, refused)


def _on(number: int, argument: int, then: list[_Instruction]) -> list[_Instruction]:
    """Look at one argument of one call; after that the number is loaded again."""
    # Of each argument, 64 bits, the lower half: what is compared here is an int to the kernel.
    body = [_Instruction(_LOAD, 16 + 8 * argument), *then, _Instruction(_LOAD, _NUMBER)]
    return [_Instruction(_EQUAL, number, otherwise=len(body)), *body]


def _when(test: int, value: int, *, then: int | None = None, otherwise: int | None = None) -> list[_Instruction]:
    """End the filter with a verdict where the loaded value passes the test, or where it does not."""
    if then is not None:
        return [_Instruction(test, value, otherwise=1), _Instruction(_RETURN, then)]
    assert otherwise is not None
    return [_Instruction(test, value, then=1), _Instruction(_RETURN, otherwise)]
