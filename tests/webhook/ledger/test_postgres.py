from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.polling import wait_until
from webhook.ledger.postgres import PostgresServer, PostgresUnusable, serve

ROOT = Path(__file__).parents[3]

_CHILD = """
import os, sys
from pathlib import Path
from webhook.ledger.postgres import PostgresServer
if len(sys.argv) > 2:  # only now: the interpreter itself may lie where that user may not look
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[2]))
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.dsn, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="yurt-test-") as name:
        yield Path(name)


def ask(dsn: str, statement: str) -> object:
    """The first value that a statement gives."""

    async def answer() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(answer())


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def server_processes(folder: Path) -> list[int]:
    """The postmaster's number, from its own file, where it runs."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        return [pid] if alive(pid) else []
    return []


def test_what_was_written_is_there_after_a_restart_and_after_a_crash(folder: Path) -> None:
    server = PostgresServer(folder / "deep" / "er")
    server.start()
    try:
        ask(server.dsn, "create table kept as select 1 as n")
        dsn = server.dsn
        for number in range(3):
            pid = server.pid
            assert pid is not None
            server.kill()
            assert not alive(pid)
            server.start()
            assert server.dsn == dsn, "who was connected finds it again"
            assert ask(server.dsn, "select max(n) from kept") == number + 1
            ask(server.dsn, f"insert into kept values ({number + 2})")
        server.stop()
        assert server.pid is None
        assert not server_processes(folder / "deep" / "er")
        server.start()
        assert ask(server.dsn, "select count(*) from kept") == 4
    finally:
        server.stop()
    server.stop()


def test_it_listens_to_no_network_and_serves_for_a_with_block(folder: Path) -> None:
    with serve(folder) as dsn:
        assert ask(dsn, "show listen_addresses") == ""
        assert ask(dsn, "show server_encoding") == "UTF8"
        [pid] = server_processes(folder)
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert not alive(pid)


def test_two_on_one_folder_are_refused_with_the_servers_own_words(folder: Path) -> None:
    with serve(folder) as dsn:
        second = PostgresServer(folder)
        with pytest.raises(PostgresUnusable, match=r"postmaster\.pid"):
            second.start()
        assert ask(dsn, "select 1") == 1


def test_data_that_was_only_half_made_is_made_anew(folder: Path) -> None:
    (folder / "data.partial").mkdir()
    (folder / "data.partial" / "PG_VERSION").write_text("18\n")
    with serve(folder) as dsn:
        assert ask(dsn, "select 1") == 1
    assert not (folder / "data.partial").exists()


def test_data_that_cannot_be_used_is_said_with_the_servers_log(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresUnusable, match="did not start"):
        PostgresServer(folder).start()


def test_without_the_binaries_it_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PostgresUnusable, match="DATABASE_URL"):
        PostgresServer(folder)


@contextlib.contextmanager
def child(folder: Path, user: pwd.struct_passwd | None = None) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process with a server; its number and DSN."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder), *([str(user.pw_uid), str(user.pw_gid)] if user else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with process:
        try:
            assert process.stdout
            pid, dsn = process.stdout.readline().split()
            yield process, int(pid), dsn
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux only")
def test_it_goes_when_its_parent_is_killed_and_can_be_started_again(folder: Path) -> None:
    with child(folder) as (process, pid, dsn):
        ask(dsn, "create table kept as select 1")
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not alive(pid))
    with serve(folder) as dsn:
        assert ask(dsn, "select count(*) from kept") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_runs_for_a_user_who_is_not_root(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with child(folder, nobody) as (process, pid, _):
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        process.communicate("")
        assert process.returncode == 0
        assert not alive(pid)
