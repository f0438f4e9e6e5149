"""What a file that took over its handler would try: each attempt raises ``OSError`` where it is refused.

Without a jail root can do each, or gets an error that is not about permission: what could do harm is given arguments
that the kernel finds wrong only after it has decided whether the call may be made.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox.child.jail.libc import libc
from workers.sandbox.child.jail.system_calls import MACHINES

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_BAD = ctypes.c_void_p(1)
"""No address of anything."""
_FASTOPEN, _MPTCP, _ALG, _VSOCK = 0x20000000, 262, 38, 40
_TIOCSTI = 0x5412
_X32_GETPID = 0x40000000 | 39


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a jailed process finds itself."""

    outside: Path
    """A folder that it was not given, with a file ``secret``."""
    own: Path
    """Its output folder."""
    victim: int
    """Another process of the same user."""
    tcp: tuple[str, int]
    """A server that listens on loopback."""
    path: str
    """A datagram socket in ``outside``."""
    abstract: str
    """A stream socket that has no path."""

    @property
    def secret(self) -> Path:
        """A file of somebody else's job."""
        return self.outside / "secret"


Attempt = Callable[[Surroundings], object]


def system_call(name: str, *arguments: object) -> int:
    """Make a system call by its name. Raises OSError."""
    return _numbered(MACHINES[platform.machine()].numbers[name], *arguments)


def _numbered(number: int, *arguments: object) -> int:
    returned: int = libc.syscall(ctypes.c_long(number), *arguments)
    if returned < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return returned


def _called(name: str, *arguments: object) -> Attempt:
    return lambda _: system_call(name, *arguments)


def _linked(at: Surroundings) -> str:
    (at.own / "link").symlink_to(at.secret)
    return (at.own / "link").read_text()


def _renamed_out(at: Surroundings) -> None:
    (at.own / "mine").write_text("x")
    (at.own / "mine").rename(at.outside / "mine")


def _mapped_memory(at: Surroundings) -> None:
    _opened(Path(f"/proc/{at.victim}/mem"), os.O_RDONLY)


def _opened(path: Path, flags: int) -> None:
    os.close(os.open(path, flags))


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _pidfd(pid: int) -> int:
    return system_call("pidfd_open", pid, 0)


def _remote_memory(name: str) -> Attempt:
    vector = ctypes.create_string_buffer(16)
    return lambda at: system_call(name, at.victim, vector, 0, vector, 0, 0)


def _abstract(at: Surroundings) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{at.abstract}")


def _by_path(at: Surroundings) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", at.path)


def _pair_by_path(at: Surroundings) -> None:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", at.path)


def _connected(at: Surroundings) -> None:
    socket.create_connection(at.tcp, 5).close()


def _fast_opened(at: Surroundings) -> None:
    with socket.socket() as client:
        client.sendto(b"x", _FASTOPEN, at.tcp)


def _multipath(at: Surroundings) -> None:
    with socket.socket(proto=_MPTCP) as client:
        client.connect(at.tcp)


def _listened(_: Surroundings) -> None:
    with socket.socket() as server:
        server.listen()


def _bound(_: Surroundings) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def _of_family(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> Attempt:
    return lambda _: socket.socket(family, kind, protocol).close()


def _in_memory(_: Surroundings) -> None:
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    os.execve(program, ["true"], {})


def _forked(_: Surroundings) -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


FILES: Mapping[str, Attempt] = {
    "read a file": lambda at: at.secret.read_text(),
    "write a file": lambda at: at.secret.write_text("x"),
    "append to a file": lambda at: _opened(at.secret, os.O_WRONLY | os.O_APPEND),
    "cut a file": lambda at: os.truncate(at.secret, 0),
    "cut a file while opening it": lambda at: _opened(at.secret, os.O_RDONLY | os.O_TRUNC),
    "make a file": lambda at: (at.outside / "new").write_text("x"),
    "make a folder": lambda at: (at.outside / "folder").mkdir(),
    "make a nameless file": lambda at: _opened(at.outside, os.O_TMPFILE | os.O_RDWR),
    "list a folder": lambda at: _listed(at.outside),
    "remove a file": lambda at: at.secret.unlink(),
    "read by a symbolic link": _linked,
    "read by a hard link": lambda at: (at.own / "hard").hardlink_to(at.secret),
    "move a file in": lambda at: at.secret.rename(at.own / "moved"),
    "move a file out": _renamed_out,
    "read by /proc/self/root": lambda at: Path(f"/proc/self/root{at.secret}").read_text(),
    "read the passwords": lambda _: Path("/etc/shadow").read_bytes(),
    "list root's home": lambda _: _listed(Path("/root")),
    "list services' states": lambda _: _listed(Path("/var/lib")),
    "list running services": lambda _: _listed(Path("/run")),
    "list shared memory": lambda _: _listed(Path("/dev/shm")),
    "open the kernel's log": lambda _: _opened(Path("/dev/kmsg"), os.O_RDONLY),
    "change a kernel setting": lambda _: _opened(Path("/proc/sys/kernel/core_pattern"), os.O_WRONLY),
    "make a device": lambda at: os.mknod(at.own / "device", 0o020600, os.makedev(1, 3)),
    "give a file away": lambda at: os.chown(at.own, 1, 1),
    "set an attribute": lambda at: os.setxattr(at.secret, "user.x", b"x"),
    "name by a handle": _called("name_to_handle_at", -1, b"x", _BAD, _BAD, 0),
    "open by a handle": _called("open_by_handle_at", -1, _BAD, 0),
    "watch all of a file system": _called("fanotify_init", -1, 0),
}
PROCESSES: Mapping[str, Attempt] = {
    "read another's environment": lambda at: Path(f"/proc/{at.victim}/environ").read_bytes(),
    "open another's memory": _mapped_memory,
    "read another's map": lambda at: Path(f"/proc/{at.victim}/maps").read_bytes(),
    "follow another's descriptor": lambda at: Path(f"/proc/{at.victim}/fd/0").readlink(),
    "look into another's folder": lambda at: _listed(Path(f"/proc/{at.victim}/cwd/")),
    "signal another": lambda at: os.kill(at.victim, 0),
    "signal the parent": lambda _: os.kill(os.getppid(), 0),
    "signal a group": lambda at: os.killpg(os.getpgid(at.victim), 0),
    "signal a thread": lambda at: system_call("tgkill", at.victim, at.victim, 0),
    "signal with a value": lambda at: system_call("rt_sigqueueinfo", at.victim, signal.SIGCONT, b"\xff\xff" * 64),
    "trace another": lambda at: system_call("ptrace", 0x4206, at.victim, 0, 0),
    "read another's memory": _remote_memory("process_vm_readv"),
    "write another's memory": _remote_memory("process_vm_writev"),
    "advise another's memory": _called("process_madvise", -1, _BAD, 0, 0, 0),
    "compare with another": lambda at: system_call("kcmp", os.getpid(), at.victim, 0, 0, 0),
    "take another's descriptor": _called("pidfd_getfd", -1, 0, 0),
    "limit another's processor time": lambda at: resource.prlimit(at.victim, resource.RLIMIT_CPU),
    "lower another's priority": lambda at: os.setpriority(os.PRIO_PROCESS, at.victim, 19),
    "lower everyone's priority": lambda _: os.setpriority(os.PRIO_USER, 99_999, 19),
    "let another idle": lambda at: os.sched_setscheduler(at.victim, os.SCHED_IDLE, os.sched_param(0)),
    "attach shared memory": _called("shmget", 0x59555254, 4096, 0o600),
    "open a message queue": _called("mq_open", b"yurt-forbidden", 0, 0, None),
}
KERNEL: Mapping[str, Attempt] = {
    "a namespace of users": _called("clone", _NEW_USER | _NEW_NET | signal.SIGCHLD, -1, 0, 0, 0),
    "leave namespaces": _called("unshare", _NEW_USER),
    "enter a namespace": _called("setns", -1, 0),
    "clone3": _called("clone3", _BAD, 0),
    "mount": _called("mount", b"none", b"/nowhere", b"tmpfs", 0, None),
    "unmount": _called("umount2", b"/nowhere", 0),
    "change the root": _called("chroot", b"/nowhere"),
    "turn the root": _called("pivot_root", b"/nowhere", b"/nowhere"),
    "open a tree": _called("open_tree", -1, b"x", 0),
    "open a file system": _called("fsopen", b"no-such-system", 0),
    "load a program for the kernel": _called("bpf", -1, _BAD, 0),
    "measure events": _called("perf_event_open", _BAD, 0, -1, -1, 0),
    "handle page faults": _called("userfaultfd", -1),
    "queue system calls": _called("io_uring_setup", 0, _BAD),
    "use keys": _called("keyctl", 99_999, 0, 0, 0, 0),
    "add a key": _called("add_key", _BAD, _BAD, _BAD, 0, 0),
    "ask for a key": _called("request_key", _BAD, _BAD, _BAD, 0),
    "load a module": _called("finit_module", -1, b"", 0),
    "load a kernel": _called("kexec_load", 0, 99, _BAD, -1),
    "restart": _called("reboot", 0, 0, 0, None),
    "swap": _called("swapon", b"/nowhere", 0),
    "account": _called("acct", b"/nowhere"),
    "name the machine": _called("sethostname", b"x", -1),
    "set the clock": _called("clock_settime", 99, _BAD),
    "trim the clock": _called("adjtimex", _BAD),
    "change the personality": _called("personality", 0xFFFFFFFF),
    "set quotas": _called("quotactl", 0x80000000, None, 0, _BAD),
    "read the kernel's log": _called("syslog", 10, None, 0),
    "move memory between nodes": _called("migrate_pages", 0, 0, None, None),
    "type into a terminal": _called("ioctl", 0, _TIOCSTI, _BAD),
    "regain privileges": lambda _: system_call("chroot", b"/nowhere"),
    **(
        {
            "port privileges": _called("iopl", 9),
            "ports": _called("ioperm", -1, 1, 1),
            "descriptor tables": _called("modify_ldt", 99, None, 0),
            "the second ABI": lambda _: _numbered(_X32_GETPID),
        }
        if platform.machine() == "x86_64"
        else {}
    ),
}
SOCKETS: Mapping[str, Attempt] = {
    "reach a port of this machine": _connected,
    "reach it by fast open": _fast_opened,
    "reach it by multipath TCP": _multipath,
    "listen": _listened,
    "bind": _bound,
    "reach a socket by its path": _by_path,
    "reach it from a pair": _pair_by_path,
    "reach a socket by its name": _abstract,
    "netlink": _of_family(socket.AF_NETLINK, socket.SOCK_RAW),
    "packets": _of_family(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": _of_family(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "the kernel's ciphers": _of_family(_ALG, socket.SOCK_SEQPACKET),
    "virtual machines": _of_family(_VSOCK),
}
NETWORK: Mapping[str, Attempt] = {
    "TCP": _of_family(socket.AF_INET),
    "TCP, version 6": _of_family(socket.AF_INET6),
    "UDP": _of_family(socket.AF_INET, socket.SOCK_DGRAM),
}
"""What ``network = true`` allows."""
PROGRAMS: Mapping[str, Attempt] = {
    "start a process": _forked,
    "run a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "replace itself": lambda _: os.execv("/bin/true", ["true"]),
    "run a program from memory": _in_memory,
    "open another process": lambda at: _pidfd(at.victim),
    "list processes": lambda _: _listed(Path("/proc")),
    "read a command line": lambda at: Path(f"/proc/{at.victim}/cmdline").read_bytes(),
    "change modes": lambda at: at.secret.chmod(0o644),
    "change times": lambda at: os.utime(at.secret, (1, 1)),
    "a pair of sockets": lambda _: socket.socketpair(),
    "confine another to a processor": lambda at: os.sched_setaffinity(at.victim, {0}),
    "watch a folder": lambda _: system_call("inotify_init1", 0),
}
"""What handlers may do that start programs, ``python`` and ``command``."""
