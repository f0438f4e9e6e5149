"""A program that takes ssh's arguments and runs the remote command here, in a home folder for each host.

``FAKE_SSH`` is its folder. A file ``HOST.down`` there makes a host unreachable, ``HOST.lost`` breaks the connection
after the command has run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    folder = Path(os.environ["FAKE_SSH"])
    options, (host, command) = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    assert options == ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"], options
    with (folder / "argv.jsonl").open("a") as calls:
        calls.write(json.dumps(sys.argv) + "\n")
    if (folder / f"{host}.down").exists():
        sys.exit(fail(host))
    home = folder / host
    home.mkdir(exist_ok=True)
    # What sshd does: the account's shell, with none of the client's variables.
    ran = subprocess.run(["/bin/sh", "-c", command], env={"HOME": str(home), "PATH": os.environ["PATH"]}, check=False)
    sys.exit(fail(host) if (folder / f"{host}.lost").exists() else ran.returncode)


def fail(host: str) -> int:
    sys.stderr.write(f"ssh: connect to host {host} port 22: Connection timed out\r\n")
    return 255


if __name__ == "__main__":
    main()
