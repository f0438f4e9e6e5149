"""Checks after a chaos run: results, callbacks, ledger, balance, machines, services and logs.

Results are read from the bucket itself, not from what a part of Yurt reports of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.chaos.bucket import BucketObject, FaultyBucket
from tests.chaos.cluster import INPUT, MACHINES, OUTPUT, PREFIX, Cluster
from tests.chaos.content import COPY, FACTS, facts
from tests.chaos.history import History
from tests.chaos.watcher import ResultWatcher
from webhook.config import RESERVED_PREFIX
from workers.manifest import Manifest
from workers.protocol import MANIFEST

ViolationKind = Literal[
    "lost", "stale", "torn", "left", "unsettled", "unaccounted", "untold", "disordered", "machines", "crashed",
    "process", "secret",
]  # fmt: skip
"""``torn``: the parts of a result are of several leases. ``left``: a result of a deleted object. ``untold``: the app
was not told of a settle. ``disordered``: it was told of an older one after a newer one, or of one under two ids.
``crashed``: a service ended by itself."""

_SIGNATURE = re.compile(rb"X-Amz-Signature=[0-9a-f]{16}")
_ABREAST = 8
PROBE = f"{PREFIX}{RESERVED_PREFIX}probe-"
"""Prefix of the objects that a replica probes conditional writes with. A replica that is killed leaves them behind."""
_UNACCOUNTED = re.compile(r'^yurt_unaccounted\{unit="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    kind: ViolationKind
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class _Result:
    """The manifest and the outputs of one object."""

    manifest: Manifest | None
    outputs: Mapping[str, BucketObject]


async def of_results(bucket: FaultyBucket, histories: Mapping[str, History]) -> list[Violation]:
    """Check that each object's newest content is published, and nothing else."""
    published = await _published(bucket)
    known = set(histories)
    violations = [
        Violation("left", f"{key} belongs to no object that was written") for key in published if key not in known
    ]
    gate = asyncio.Semaphore(_ABREAST)

    async def one(history: History) -> list[Violation]:
        async with gate:
            return await _of_object(bucket, history, published.get(history.key, set()))

    for faults in await asyncio.gather(*(one(history) for history in histories.values())):
        violations += faults
    return violations


async def of_ledger(cluster: Cluster, histories: Mapping[str, History]) -> list[Violation]:
    """Check that every row of the ledger has settled and agrees with the bucket."""
    rows = await cluster.query("select key, state::text, rerun_requested, done_etag, error::text from objects")
    violations = list[Violation]()
    for row in rows:
        wanted = histories[row["key"]].newest if row["key"] in histories else None
        ends = "done" if wanted and wanted.content else "gone"
        if row["rerun_requested"] or row["state"] not in ("done", "gone"):
            text = f"is {row['state']}{' and has a rerun requested' * row['rerun_requested']}: {row['error']}"
            violations.append(Violation("unsettled", text, row["key"]))
        elif row["state"] != ends or (wanted and wanted.content and row["done_etag"] != wanted.etag):
            text = f"the ledger has {row['state']} {row['done_etag']}, the bucket {wanted.etag if wanted else None}"
            violations.append(Violation("lost", text, row["key"]))
    [quarantine] = await cluster.query("select count(*) from quarantine")
    if quarantine[0]:
        violations.append(Violation("unsettled", f"{quarantine[0]} events are in quarantine, and all were good"))
    return violations


async def of_callbacks(cluster: Cluster) -> list[Violation]:
    """Check that the app was told of every settle, in order for each object, and of each under one id."""
    settles = await cluster.query(
        "select s.position, s.key, c.message, c.state::text"
        " from settles as s left join callbacks as c on c.position = s.position where s.state <> 'done' or s.changed"
    )
    told = {row["position"]: f"msg_{row['message'].hex}" for row in settles if row["state"] == "told"}
    return [*of_told({row["position"]: row["key"] for row in settles}, told, cluster.app.received())]


def of_told(
    settles: Mapping[int, str], told: Mapping[int, str], received: Sequence[Mapping[str, Any]]
) -> Iterator[Violation]:
    """Compare what an app has received with the settles' keys and the ids of those that were told, by position."""
    ids = {each["data"]["sequence"]: each["id"] for each in received}
    for position, key in settles.items():
        if position not in told or ids.get(position) != told[position]:
            yield Violation(
                "untold", f"settle {position} is told as {told.get(position)}, came as {ids.get(position)}", key
            )
    yield from _disordered(received)


def _disordered(received: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
    newest = dict[str, int]()
    ids = dict[tuple[str, int], str]()
    for told in received:
        key, sequence = told["data"]["key"], told["data"]["sequence"]
        if sequence < newest.get(key, 0):
            yield Violation("disordered", f"{sequence} came after {newest[key]}", key)
        newest[key] = max(sequence, newest.get(key, 0))
        if ids.setdefault((key, sequence), told["id"]) != told["id"]:
            yield Violation("disordered", f"{sequence} came as {ids[key, sequence]} and as {told['id']}", key)


async def of_balance(cluster: Cluster) -> list[Violation]:
    """Check that nothing is unaccounted for, by the status endpoint and by the metric of both replicas."""
    violations = list[Violation]()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        for url in cluster.urls():
            token = {"authorization": f"Bearer {cluster.keys.admin}"}
            counted = (await http.get(f"{url}/v1/status", headers=token)).json()["unaccounted"]
            shown = dict(_UNACCOUNTED.findall((await http.get(f"{url}/metrics")).text))
            if any(counted.values()) or len(shown) != 2 or any(float(value) for value in shown.values()):
                violations.append(Violation("unaccounted", f"{url}: counted {counted}, exported {shown}"))
    return violations


def of_watching(watcher: ResultWatcher) -> Iterator[Violation]:
    """Report what the watcher saw during the run."""
    for key, text in watcher.faults:
        yield Violation("stale", text, key)
    if watcher.most_machines > MACHINES:
        which = "; ".join(watcher.machines)
        yield Violation("machines", f"{watcher.most_machines} machines at once, the limit is {MACHINES}: {which}")


def of_services(cluster: Cluster) -> Iterator[Violation]:
    """Report services that crashed, and those that did not stop on SIGTERM."""
    for replica in cluster.replicas:
        if replica.crashes:
            yield Violation("crashed", f"{replica.name} ended by itself, {replica.crashes} times: see its log")
    for name in cluster.killed_late:
        yield Violation("process", f"{name} did not stop on SIGTERM, and was killed")


def of_logs(folder: Path, secrets: Collection[str]) -> Iterator[Violation]:
    """Check that no log holds a secret."""
    needles = [secret.encode() for secret in secrets]
    for path in sorted(folder.rglob("*.log")):
        text = path.read_bytes()
        if any(needle in text for needle in needles) or _SIGNATURE.search(text):
            yield Violation("secret", f"{path} holds a secret")


def keys_of(violations: Iterable[Violation]) -> list[str]:
    """Keys of the objects with violations, once each."""
    return list(dict.fromkeys(violation.key for violation in violations if violation.key))


async def _published(bucket: FaultyBucket) -> dict[str, set[str]]:
    """Names of all published outputs, by the input's key."""
    violations: dict[str, set[str]] = {}
    async for path in bucket.keys(OUTPUT):
        if not path.startswith(PROBE):
            key, _, name = path.removeprefix(PREFIX).rpartition("/")
            violations.setdefault(key, set()).add(name)
    return violations


async def _of_object(bucket: FaultyBucket, history: History, names: set[str]) -> list[Violation]:
    source = await bucket.get(INPUT, history.key)
    if source is None:
        return [Violation("left", f"deleted, but {', '.join(sorted(names))} is left", history.key)] if names else []
    result = await _result(bucket, history.key, names)
    if result.manifest is None:
        return [Violation("lost", f"no result for {source.etag}, only {sorted(names)}", history.key)]
    if result.manifest.input.etag != source.etag:
        return [Violation(*_not_newest(history, source.etag, result.manifest), history.key)]
    return [Violation(kind, text, history.key) for kind, text in _torn(source, result.manifest, result.outputs)]


async def _result(bucket: FaultyBucket, key: str, names: Collection[str]) -> _Result:
    stored = {name: await bucket.get(OUTPUT, f"{PREFIX}{key}/{name}") for name in names}
    outputs = {name: violations for name, violations in stored.items() if violations}
    encoded = outputs.pop(MANIFEST, None)
    return _Result(Manifest.decode(encoded.content) if encoded else None, outputs)


def _not_newest(history: History, etag: str, manifest: Manifest) -> tuple[ViolationKind, str]:
    text = f"published is the result of {manifest.input.etag} (token {manifest.token}), newest is {etag}"
    # If the newest had been published, an older result replaced it; otherwise the newest was never processed.
    return ("stale" if history.reached else "lost"), text


def _torn(
    source: BucketObject, manifest: Manifest, outputs: Mapping[str, BucketObject]
) -> Iterator[tuple[ViolationKind, str]]:
    named = {output.name: output.etag for output in manifest.outputs}
    if set(named) != {COPY, FACTS} or set(outputs) != set(named):
        yield "torn", f"the manifest names {sorted(named)}, published are {sorted(outputs)}"
        return
    for name, content in ((COPY, source.content), (FACTS, facts(source.content))):
        output = outputs[name]
        token = int(output.metadata.get("yurt-token", 0))
        # An output with an older token than the manifest's: a late write of an earlier lease replaced it.
        kind: ViolationKind = "stale" if token < manifest.token else "torn"
        if token != manifest.token:
            yield kind, f"{name} is of token {token}, the manifest of {manifest.token}"
        if output.etag != named[name]:
            yield kind, f"{name} has the ETag {output.etag}, the manifest says {named[name]}"
        if output.content != content:
            yield kind, f"{name} is not of the newest content"
        if output.metadata.get("yurt-input-etag") != source.etag:
            yield kind, f"{name} claims to be of {output.metadata.get('yurt-input-etag')}, newest is {source.etag}"
