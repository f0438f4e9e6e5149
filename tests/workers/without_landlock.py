"""Executes a program as a kernel without landlock would: ``python without_landlock.py PROGRAM …``.

A filter refuses the system call that makes a ruleset, as an older kernel does, which does not know it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_CREATE_RULESET = 444
_ERRNO, _ALLOW = 0x50000, 0x7FFF0000


def main(program: str, *arguments: str) -> None:
    """Refuse the call from now on, and execute the program."""
    code = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, 0),  # the call's number
            (_EQUAL, 0, 1, _CREATE_RULESET),
            (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    filter = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(filter)))
    libc = ctypes.CDLL(None)
    assert libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(head), 0, 0) == 0
    os.execv(program, (program, *arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
