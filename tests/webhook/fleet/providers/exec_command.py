"""A command for the exec provider that does what ``EXEC_DEED`` says with what it reads. Run as a program.

It writes its stdin, its arguments and its environment to the file that ``EXEC_SEEN`` names, before anything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ANSWERS = {
    "offers": '{"offers": [{"usd_per_hour": 0.30, "usd_once": "0.010"}]}',
    "mint": '{"ref": "7"}',
    "list": '{"instances": [{"label": "yurt-photos-1", "ref": "7", "usd_per_hour": 0.1},{"label": "ger-1","ref": ""}]}',
    "slay": "",
    "logs": '{"text": "out of memory\\u001b[0m"}',
    "check": '{"findings": [{"ok": false, "message": "no quota", "hint": "ask for some"}]}',
}


def main() -> None:
    verb, deed = sys.argv[-1], os.environ.get("EXEC_DEED", "")
    message = json.load(sys.stdin)
    seen = Path(os.environ["EXEC_SEEN"])
    draft = seen.with_suffix(".new")
    draft.write_text(json.dumps({"message": message, "argv": sys.orig_argv, "environment": dict(os.environ)}))
    draft.rename(seen)
    if deed.startswith("exit:"):
        sys.stderr.write(f"first line\nreason \x1b[31m{json.dumps(message)} {os.environ['EXEC_SEEN']}\n\n")
        sys.exit(int(deed.removeprefix("exit:")))
    if deed.startswith("print:"):
        print(deed.removeprefix("print:"))
    elif deed == "hang":
        child = subprocess.Popen(["sleep", "600"])
        seen.with_suffix(".child").write_text(str(child.pid))
        time.sleep(600)
    elif deed == "basic" and verb in ("logs", "check"):
        sys.exit(64)
    else:
        print(ANSWERS[verb])


if __name__ == "__main__":
    main()
