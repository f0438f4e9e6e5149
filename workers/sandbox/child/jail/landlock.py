"""Restricts a process by landlock(7): which files it may use, which TCP ports, and whom it may signal.

Needs no privileges. What is allowed can only become less, and holds for every process started later. Numbers and
structures are those of ``<linux/landlock.h>``; the system calls have the same numbers on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from workers.sandbox.child.jail.libc import libc
from workers.sandbox.child.jail.policy import JailError, JailPolicy

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_FIFO, _MAKE_SYM = 1 << 7, 1 << 8, 1 << 10, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

_READ = _READ_FILE | _READ_DIR
_WRITE = (
    _READ
    | _WRITE_FILE
    | _TRUNCATE
    | _REFER
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_FIFO
    | _MAKE_SYM
)
"""Neither sockets nor devices can be made anywhere."""
_DEVICE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""Rights that a rule of something else than a folder may name."""
_FIRST_REFER, _FIRST_TRUNCATE, _FIRST_NETWORK, _FIRST_IOCTL, _FIRST_SCOPES = 2, 3, 4, 5, 6
"""Version of landlock in which each kind of rule came."""


def version() -> int:
    """Return the version of landlock that the kernel has (1: Linux 5.13, 4: 6.7, 6: 6.12), or 0 for none."""
    if sys.platform != "linux":
        return 0
    known: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(0, known)


def restrict(policy: JailPolicy) -> None:
    """Restrict this process. It must have no-new-privileges. Raises JailError."""
    known = version()
    if not known:
        raise JailError("the kernel has no landlock")
    ruleset = _made(known)
    try:
        files = _handled_files(known)
        _allow(ruleset, policy.listed, _READ_DIR, files)
        _allow(ruleset, policy.readable, _READ, files)
        _allow(ruleset, policy.executable, _READ | _EXECUTE, files)
        _allow(ruleset, policy.writable, _WRITE, files)
        _allow(ruleset, policy.devices, _DEVICE, files)
        if known >= _FIRST_NETWORK:
            _allow_ports(ruleset, policy.ports)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _made(known: int) -> int:
    network = _BIND_TCP | _CONNECT_TCP if known >= _FIRST_NETWORK else 0
    scopes = _ABSTRACT_SOCKETS | _SIGNALS if known >= _FIRST_SCOPES else 0
    # A kernel refuses what lies behind the fields that it knows, unless that is zero.
    attributes = struct.pack("=QQQ", _handled_files(known), network, scopes)
    return _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)


def _handled_files(known: int) -> int:
    """All rights of files that this version knows: what it handles and no rule allows is refused."""
    rights = (1 << 13) - 1
    for first, right in ((_FIRST_REFER, _REFER), (_FIRST_TRUNCATE, _TRUNCATE), (_FIRST_IOCTL, _IOCTL_DEV)):
        rights |= right if known >= first else 0
    return rights


def _allow(ruleset: int, paths: Iterable[Path], rights: int, handled: int) -> None:
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                allowed = rights & handled if folder else rights & handled & _OF_FILES
                if allowed:
                    _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)
            finally:
                os.close(descriptor)


def _allow_ports(ruleset: int, ports: Collection[int]) -> None:
    for port in ports:
        _call(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)


def _call(number: int, *arguments: object) -> int:
    returned: int = libc.syscall(number, *arguments)
    if returned < 0:
        error = ctypes.get_errno()
        raise JailError(f"landlock refuses a rule: {os.strerror(error)}")
    return returned
