"""A pooler in transaction mode is found out, and with a direct address beside it everything works."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.polling import until, wait_until
from tests.postgres import database
from tests.webhook.plane import configured, event, serving
from webhook.ledger.pooler import in_transaction_mode

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(BINARY is None, reason="needs PgBouncer: apt-get install pgbouncer")


@contextlib.contextmanager
def pgbouncer(dsn: str, mode: str) -> Iterator[str]:
    """Run a PgBouncer in front of a database. Yields the DSN through it."""
    assert BINARY
    name, query = urlsplit(dsn).path.removeprefix("/"), parse_qs(urlsplit(dsn).query)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="yurt-pgbouncer-") as folder:
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\n{name} = host={query['host'][0]} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n"
        )
        settings.chmod(0o644)
        Path(folder).chmod(0o755)
        # PgBouncer refuses to run as root: it runs as the user that owns PostgreSQL's sockets.
        owner = Path(query["host"][0]).stat()
        ids = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        process = subprocess.Popen([BINARY, "-q", str(settings)], stderr=subprocess.DEVNULL, **ids)  # type: ignore[call-overload]
        try:
            wait_until(lambda: _listens(port), failure="PgBouncer does not listen")
            yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


async def test_a_direct_connection_is_no_pooler(postgres_dsn: str) -> None:
    assert not await in_transaction_mode(postgres_dsn)


@needs_pgbouncer
@pytest.mark.parametrize(("mode", "found"), [("transaction", True), ("session", False)])
async def test_the_mode_is_found_out(postgres_dsn: str, mode: str, found: bool) -> None:
    async with database(postgres_dsn) as (_, dsn):
        with pgbouncer(dsn, mode) as pooled:
            assert await in_transaction_mode(pooled) is found


@needs_pgbouncer
async def test_a_control_plane_works_behind_it_with_a_direct_address(postgres_dsn: str) -> None:
    async with database(postgres_dsn) as (_, dsn):
        with pgbouncer(dsn, "transaction") as pooled:
            async with serving(pooled, configured(), direct_database_url=dsn) as plane:

                async def leads() -> bool:
                    return "yurt_leader 1.0" in (await plane.http.get("/metrics")).text

                await until(leads)
                worker = await plane.worker()
                for number in range(20):
                    assert await plane.notify(event(f"{number}.jpg")) == {"accepted": 1}
                leased = await worker.ask(wait=30)
                assert leased.leases
                assert (await plane.http.get("/readyz")).status_code == 200
