"""Jails the process of one job on Linux, without privileges: landlock for files, ports and signals, seccomp for calls.

Both are set before the first byte of an input is read, hold for all that the process starts, and cannot be taken off.
What a file makes of the decoder that it takes over reaches the job's own folder, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache

from workers.sandbox.child.jail import landlock, seccomp
from workers.sandbox.child.jail.libc import libc
from workers.sandbox.child.jail.policy import JailError, JailPolicy

__all__ = ["JailError", "JailPolicy", "JailSupport", "enter", "prepare", "support"]

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_MOST_CAPABILITIES = 64
_CAPABILITIES_VERSION = 0x20080522
"""``_LINUX_CAPABILITY_VERSION_3``."""


@dataclass(frozen=True, slots=True)
class JailSupport:
    """What this machine has for a jail."""

    landlock: int
    """Its version; 0 where the kernel has none."""
    missing: str
    """Why there is no jail; empty where there is one."""


@cache
def support() -> JailSupport:
    """Return what this machine has, without jailing anything."""
    if sys.platform != "linux":
        return JailSupport(0, "a jail needs Linux")
    known = landlock.version()
    if not known:
        return JailSupport(0, "the kernel has no landlock: it needs Linux 5.13 or newer with lsm=landlock")
    return JailSupport(known, seccomp.missing())


def prepare() -> None:
    """Compute what the jails of all processes share: in the template, once, before it forks them."""
    if not support().missing:
        for programs, network in ((False, False), (True, False), (True, True)):
            seccomp.fixed(platform.machine(), support().landlock, programs=programs, network=network)


def enter(policy: JailPolicy) -> None:
    """Jail this process, which has one thread, for good. Raises JailError where that cannot be had."""
    if why := support().missing:
        raise JailError(why)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise JailError(f"the kernel refuses no-new-privileges: {os.strerror(ctypes.get_errno())}")
    _drop_capabilities()
    landlock.restrict(policy)
    seccomp.restrict(policy, landlock=support().landlock)


def _drop_capabilities() -> None:
    """Give up root's privileges, if it has any: to read any file, to trace, to load, to mount."""
    for capability in range(_MOST_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused without CAP_SETPCAP, and then there are none
    nothing = struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    if libc.capset(struct.pack("=Ii", _CAPABILITIES_VERSION, 0), nothing) != 0:
        raise JailError(f"the kernel keeps its capabilities: {os.strerror(ctypes.get_errno())}")
