"""Makes the data folder of the embedded PostgreSQL, and the role that the control plane uses there.

The role ``yurt`` owns the database and is nothing more: no superuser, no maker of roles or databases. It alone may
log in, over the Unix socket and with a password, which lies in a file that only this process's user may read. The
superuser cannot log in at all: what needs it is done in PostgreSQL's single-user mode, while no server runs. A folder
of an earlier version, whose superuser needed no password, is changed to this at its next start, and keeps its data.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from webhook.ledger.postgres_programs import PostgresUnusable, Programs
from webhook.private_file import private

ROLE = "yurt"
DATABASE = "postgres"
"""Of which the ledger is the only content."""

_SECONDS = 120.0
_ACCESS = f"local {DATABASE} {ROLE} scram-sha-256\n"
"""The whole of pg_hba.conf: what it does not name is refused."""
_ROLE = """\
do $$ begin
  if not exists (select from pg_roles where rolname = '{role}') then create role {role}; end if;
end $$;

alter role {role} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password '{password}';

alter database {database} owner to {role};

do $$
declare found record;
begin
  for found in
    select c.relname as name, case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end as kind
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
      and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass
                      and d.deptype in ('a', 'i') and c.relkind = 'S')
  loop execute format('alter %s public.%I owner to {role}', found.kind, found.name); end loop;
  for found in select oid::regprocedure as name from pg_proc where pronamespace = 'public'::regnamespace
  loop execute format('alter routine %s owner to {role}', found.name); end loop;
  for found in
    select typname as name from pg_type
    where typnamespace = 'public'::regnamespace and typtype in ('e', 'd')
  loop execute format('alter type public.%I owner to {role}', found.name); end loop;
end $$;

"""


def prepare(folder: Path, programs: Programs) -> None:
    """Make ``folder/data`` and the role where they are missing. Raises PostgresUnusable."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs.take_back(folder)
    if not (folder / "data").exists():
        _initialize(folder, programs)
    if not password_file(folder).exists():
        _limit(folder, programs)


def password_file(folder: Path) -> Path:
    """The file with the role's password, in the form of libpq's ``.pgpass``."""
    return folder / "password"


def _initialize(folder: Path, programs: Programs) -> None:
    # Created under another name and renamed at the end, so that a folder called "data" is always complete.
    partial = folder / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    programs.own(partial)
    options = ["-U", "postgres", "--auth=reject", "-E", "UTF8", "--locale=C", "--no-sync"]
    _completed(f"initdb failed in {folder}", programs.spawn("initdb", partial, *options, output=subprocess.PIPE))
    password_file(folder).unlink(missing_ok=True)  # of a role in other data
    partial.rename(folder / "data")


def _limit(folder: Path, programs: Programs) -> None:
    """Make the role, give it the database, and let nothing else log in. The password's file comes last."""
    data, password = folder / "data", secrets.token_urlsafe(32)
    settings = ["exit_on_error=on", "log_min_error_statement=panic", "log_min_messages=warning"]
    options = [part for setting in settings for part in ("-c", setting)]
    started = programs.spawn(
        "postgres", data, "--single", "-j", *options, DATABASE, output=subprocess.PIPE, given=subprocess.PIPE
    )
    _completed(
        f"PostgreSQL did not start on {folder}",
        started,
        _ROLE.format(role=ROLE, database=DATABASE, password=password).encode(),
    )
    _write(data / "pg_hba.conf", _ACCESS)
    programs.own(data / "pg_hba.conf")
    partial = folder / "password.partial"
    _write(partial, f"*:*:*:{ROLE}:{password}\n")
    partial.replace(password_file(folder))


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _completed(failure: str, process: subprocess.Popen[bytes], given: bytes | None = None) -> None:
    output, _ = process.communicate(given, timeout=_SECONDS)
    if process.returncode:
        raise PostgresUnusable(f"{failure}:\n{output.decode(errors='replace')[-2000:]}")
