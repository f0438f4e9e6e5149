"""Machines that SkyPilot launches, as a command for the exec provider: a cluster of one node for each machine.

Run by Yurt as ``PYTHON skypilot.py task.yaml USD_PER_HOUR VERB`` with the Python that has SkyPilot, and a message on
stdin. It needs nothing of Yurt. The task is SkyPilot's own: resources, and ``run: yurt worker``. Written from
SkyPilot's documentation of its Python SDK (0.9 and newer) and tried against a stand-in of it alone: try it with one
machine first. docs/exec.md has an example.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import sky

UNKNOWN_VERB, NO_ROOM = 64, 75
IDLE_MINUTES = 5
"""SkyPilot itself takes down a cluster whose worker ended so long ago."""
NEVER_WELL = frozenset({"STOPPED", "AUTOSTOPPING"})

Message = Mapping[str, Any]


def offers(_: Message, task: str, usd_per_hour: str) -> Message:
    """One offer, at the price that the command line says: SkyPilot chooses the machine when it launches."""
    return {"offers": [{"usd_per_hour": usd_per_hour, "description": task}]}


def mint(message: Message, task: str, _: str) -> Message:
    """Have the API server launch a cluster that is named after the label. Does not wait for it."""
    described = sky.Task.from_yaml(task)
    token = {"YURT_TOKEN": message["environment"]["YURT_TOKEN"]}
    described.update_envs({name: text for name, text in message["environment"].items() if name not in token})
    described.update_secrets(token)
    sky.launch(described, cluster_name=message["label"], idle_minutes_to_autostop=IDLE_MINUTES, down=True)
    return {"ref": message["label"]}


def list_(message: Message, *_: str) -> Message:
    """Every cluster of this owner, as the clouds say."""
    clusters = sky.get(sky.status(refresh=sky.StatusRefreshMode.FORCE))
    named = [(cluster["name"], cluster["status"].value) for cluster in clusters]
    return {
        "instances": [
            {"label": name, "ref": name, "running": status not in NEVER_WELL, "status": status}
            for name, status in named
            if name.startswith(f"{message['owner']}-")
        ]
    }


def slay(message: Message, *_: str) -> Message:
    """Take a cluster down. One that is unknown is down already."""
    with contextlib.suppress(sky.exceptions.ClusterDoesNotExist):
        sky.get(sky.down(message["label"]))
    return {}


VERBS: Mapping[str, Callable[[Message, str, str], Message]] = {
    "offers": offers,
    "mint": mint,
    "list": list_,
    "slay": slay,
}


def end(status: int, reason: str) -> NoReturn:
    """Print the reason for Yurt, and exit."""
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(status)


def main() -> None:
    """Read a message, do what its verb says, print the answer on a stdout that SkyPilot has not written to."""
    task, usd_per_hour, verb = sys.argv[1:]
    if verb not in VERBS:
        end(UNKNOWN_VERB, f"there is no verb {verb!r}")
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        answer = VERBS[verb](json.load(sys.stdin), task, usd_per_hour)
    except sky.exceptions.ResourcesUnavailableError as error:
        end(NO_ROOM, str(error))
    json.dump(answer, answers)


if __name__ == "__main__":
    main()
