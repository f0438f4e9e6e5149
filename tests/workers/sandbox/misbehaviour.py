"""Handlers that do what handlers should not: for ``python`` handlers in the sandbox's children."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import JsonValue

from workers.handlers import HandlerError, Job, OutputFile, Result


def _text(job: Job, name: str, text: str) -> Result:
    (job.output / name).write_text(text)
    return Result(outputs=(OutputFile(name, "text/plain"),))


def publish_pid(job: Job) -> Result:
    (job.output / "pid.txt").write_text(str(os.getpid()))
    return Result(outputs=(OutputFile("pid.txt", "text/plain"),), labels={"pid": os.getpid()})


def environment(job: Job) -> Result:
    return Result(outputs=(), labels=dict(os.environ))


def print_much(job: Job) -> Result:
    """Write to every stream that could carry the agent's messages."""
    print("x" * 100_000)
    sys.stdout.buffer.write(b"\x00\x00\x00\x05hello")
    os.write(1, b"\x00\x00\x00\x05hello")
    subprocess.run(["echo", "from a program"], check=True)
    assert sys.stdin.read() == ""
    return _text(job, "done.txt", "done")


def fail_loudly(job: Job) -> Result:
    print("what was printed\0\x1b[31m")
    raise RuntimeError("no idea what went wrong")


def refuse(job: Job) -> Result:
    print("looked at it")
    raise HandlerError("unreadable", "This is no picture.")


def exit_early(job: Job) -> Result:
    sys.exit(0)


def vanish(job: Job) -> Result:
    os._exit(3)


def segfault(job: Job) -> Result:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)
    raise AssertionError


def abort_for_memory(job: Job) -> Result:
    """End as GLib ends a process when malloc fails."""
    os.write(2, b"GLib-ERROR **: failed to allocate 1073741824 bytes\n")
    os.abort()


def eat_memory(job: Job) -> Result:
    return _text(job, "x", "x" * len(bytearray(8 << 30)))


def spin(job: Job) -> Result:
    while True:
        pass


def burn(job: Job) -> Result:
    """Use 0.8 s of processor time."""
    end = time.process_time() + 0.8
    while time.process_time() < end:
        pass
    return Result(outputs=())


def hang(job: Job) -> Result:
    (job.output / "started").touch()
    time.sleep(3_600)
    raise AssertionError


def raise_error(job: Job) -> Result:
    raise RuntimeError(job.options["text"])


def fill_disk(job: Job) -> Result:
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise HandlerError("unreadable", "The picture is damaged.") from error


def fill_disk_as_libvips(job: Job) -> Result:
    import pyvips

    raise pyvips.Error("unable to call webpsave", "unix error: No space left on device\n")


def one_large_file(job: Job) -> Result:
    return _text(job, "large.txt", "x" * 2_000_000)


def many_large_files(job: Job) -> Result:
    names = [f"{number}.txt" for number in range(4)]
    for name in names:
        _text(job, name, "x" * 400_000)
    return Result(outputs=tuple(OutputFile(name, "text/plain") for name in names))


def many_files(job: Job) -> Result:
    return Result(outputs=tuple(OutputFile(f"{number}", "text/plain") for number in range(65)))


def leave_daemon(job: Job) -> Result:
    """Leave a daemon behind: in a session of its own, its parent gone, all its pipes closed."""
    pid_file = job.output / "daemon.txt"
    command = f"import os,time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(3600)"
    middle = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {command!r}], start_new_session=True, "
        "stdin=-3, stdout=-3, stderr=-3)"
    )
    subprocess.run([sys.executable, "-c", middle], check=True)
    while not (pid_file.exists() and pid_file.read_text()):
        time.sleep(0.01)
    if job.options.get("hang"):
        time.sleep(3_600)
    return Result(outputs=(OutputFile("daemon.txt", "text/plain"),))


def fork_bomb(job: Job) -> Result:
    """Twice as many processes with each round, to a bound that a test machine bears."""
    for _ in range(6):
        os.fork()
    with (job.output / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(3_600)
    raise AssertionError


def link(job: Job) -> Result:
    (job.output / "passwd.txt").symlink_to("/etc/passwd")
    return Result(outputs=(OutputFile("passwd.txt", "text/plain"),))


def folder(job: Job) -> Result:
    (job.output / "a").mkdir()
    return Result(outputs=(OutputFile("a", "text/plain"),))


def name_output(job: Job) -> Result:
    """Return an output with the name and type in the options."""
    name, content_type = str(job.options["name"]), str(job.options["content_type"])
    target = job.output / "x.txt" if "/" in name or not name else job.output / name
    target.write_text("x")
    return Result(outputs=(OutputFile(name, content_type),) * int(str(job.options.get("times", 1))))


def not_there(job: Job) -> Result:
    return Result(outputs=(OutputFile("nothing.txt", "text/plain"),))


def huge_labels(job: Job) -> Result:
    return Result(outputs=(), labels={"a": "x" * 100_000})


def not_json(job: Job) -> Result:
    labels: dict[str, JsonValue] = {"a": float("nan")}
    return Result(outputs=(), labels=labels)


def lone_surrogate(job: Job) -> Result:
    return Result(outputs=(), labels={"a": "\ud800"})


def odd_reason(job: Job) -> Result:
    raise HandlerError("Not a Code!", "x")


def publish_all(job: Job) -> None:
    (job.output / "a.webp").write_bytes(b"1")
    (job.output / "b.tar.gz").write_bytes(b"12")


def wrong_type(job: Job) -> object:
    return [job.key]


def echo_options(job: Job) -> Result:
    return Result(outputs=(), labels={"options": dict(job.options), "key": job.key, "etag": job.etag})


def lose_lock(job: Job) -> Result:
    """Hold the interpreter's lock inside a C call, so that no Python thread of this process can run."""
    import ctypes

    (job.output / "pid").write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(3_600)
    raise AssertionError


def leave_temporary_file(job: Job) -> Result:
    """Leave temporary files behind: one of this process and one of a program."""
    descriptor, own = tempfile.mkstemp()
    os.close(descriptor)
    program = subprocess.run(["mktemp"], check=True, capture_output=True, text=True).stdout.strip()
    return Result(outputs=(), labels={"own": own, "program": program})


def leave_thread_and_program(job: Job) -> Result:
    threading.Thread(target=time.sleep, args=(3_600,)).start()
    program = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    return Result(outputs=(), labels={"pid": os.getpid(), "program": program.pid})


def descriptors(job: Job) -> Result:
    """Tell which descriptors are open."""
    found: list[JsonValue] = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return Result(outputs=(), labels={"open": found})


def unreadable_output(job: Job) -> Result:
    result = _text(job, "a.txt", "x")
    (job.output / "a.txt").chmod(0)
    return result


def hard_limits(job: Job) -> Result:
    return Result(
        outputs=(),
        labels={
            "cpu": resource.getrlimit(resource.RLIMIT_CPU)[1],
            "size": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
        },
    )


def scribble(job: Job) -> Result:
    """Write what is no frame into every descriptor."""
    for number in range(3, 32):
        with suppress(OSError):
            os.write(number, b"\xff" * 1_000)
    return Result(outputs=())


NOT_A_FUNCTION: Callable[[], None] | int = 5
