"""What the rules of a policy allow, and nothing beside it: files, folders, devices, ports."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.workers.sandbox.child.jail.jailed import outcome
from workers.sandbox.child import jail
from workers.sandbox.child.jail import JailPolicy, landlock

pytestmark = [
    pytest.mark.skipif(bool(jail.support().missing), reason=jail.support().missing or "has a jail"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]
_SYSTEM = tuple(map(Path, ("/usr", "/bin", "/lib", "/lib64")))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (file := tmp_path / "folder" / "file").write_text("text")
    return file


def test_a_readable_file_is_read_and_not_written(file: Path) -> None:
    policy = JailPolicy(readable=(file,))
    assert outcome(policy, file.read_text) == "done"
    assert outcome(policy, lambda: file.write_text("x")) == "EACCES"
    assert outcome(policy, lambda: list(file.parent.iterdir())) == "EACCES"


def test_a_folder_stands_for_all_that_lies_in_it(file: Path) -> None:
    policy = JailPolicy(readable=(file.parent.parent,))
    assert outcome(policy, file.read_text) == "done"
    assert outcome(policy, lambda: list(file.parent.iterdir())) == "done"


def test_a_listed_folder_tells_names_and_no_contents(file: Path) -> None:
    policy = JailPolicy(listed=(file.parent,))
    assert outcome(policy, lambda: list(file.parent.iterdir())) == "done"
    assert outcome(policy, file.read_text) == "EACCES"


def test_a_writable_folder_is_a_folder_of_its_own(file: Path) -> None:
    folder = file.parent
    policy = JailPolicy(writable=(folder,))

    def use() -> None:
        (folder / "sub").mkdir()
        file.rename(folder / "sub" / "moved")
        os.truncate(folder / "sub" / "moved", 1)
        (folder / "sub" / "moved").unlink()
        (folder / "sub").rmdir()

    assert outcome(policy, use) == "done"
    assert outcome(policy, lambda: (folder.parent / "new").write_text("x")) == "EACCES"


def test_no_program_is_run_from_a_writable_folder(file: Path) -> None:
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    policy = JailPolicy(executable=_SYSTEM, writable=(file.parent,), programs=True)
    assert outcome(policy, lambda: subprocess.run([file], check=True)) == "EACCES"


def test_an_executable_file_is_run_and_not_written(file: Path) -> None:
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    policy = JailPolicy(executable=(*_SYSTEM, file), programs=True)
    assert outcome(policy, lambda: subprocess.run([file], check=True)) == "done"
    assert outcome(policy, lambda: file.write_text("x")) == "EACCES"


def test_a_device_is_used_where_it_is_named() -> None:
    null = Path("/dev/null")
    assert outcome(JailPolicy(devices=(null,)), lambda: null.write_bytes(b"x")) == "done"
    assert outcome(JailPolicy(), lambda: null.write_bytes(b"x")) == "EACCES"


def test_a_missing_path_allows_nothing(tmp_path: Path) -> None:
    policy = JailPolicy(readable=(tmp_path / "missing",), writable=(tmp_path / "missing" / "too",))
    assert outcome(policy, lambda: list(tmp_path.iterdir())) == "EACCES"


def test_a_rule_follows_a_link_to_what_it_names(file: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(file)
    assert outcome(JailPolicy(readable=(link,)), file.read_text) == "done"


@pytest.mark.skipif(landlock.version() < 4, reason="landlock looks at ports since Linux 6.7")
def test_only_named_ports_are_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def connect() -> None:
            with socket.socket() as client:
                client.connect(address)

        allowed = JailPolicy(programs=True, network=True, ports=(address[1],))
        assert outcome(allowed, connect) == "done"
        assert outcome(JailPolicy(programs=True, network=True, ports=(address[1] ^ 1,)), connect) == "EACCES"


def test_what_is_started_is_jailed_too(file: Path) -> None:
    policy = JailPolicy(executable=_SYSTEM, programs=True)
    assert outcome(policy, lambda: subprocess.run(["/bin/cat", "/dev/null"], check=True)).startswith("CalledProcess")
    assert outcome(policy, lambda: subprocess.run(["/bin/true"], check=True)) == "done"
