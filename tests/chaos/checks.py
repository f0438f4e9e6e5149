"""Whether all is well at the end. Nothing is taken from what a part says of itself where the bucket can be asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from tests.chaos.bucket import FaultyBucket, Got
from tests.chaos.cluster import INPUT, MACHINES, OUTPUT, PREFIX, Cluster
from tests.chaos.content import COPY, FACTS, facts
from tests.chaos.history import History
from tests.chaos.watcher import ResultWatcher
from webhook.config import RESERVED_PREFIX
from workers.manifest import Manifest
from workers.protocol import MANIFEST

Wrong = Literal["lost", "stale", "torn", "left", "unsettled", "unaccounted", "machines", "fell", "process", "secret"]
"""``torn``: a result whose parts are not of one lease. ``left``: a result of what was deleted. ``fell``: a service that
ended by itself."""

_SIGNATURE = re.compile(rb"X-Amz-Signature=[0-9a-f]{16}")
_ABREAST = 8
PROBE = f"{PREFIX}{RESERVED_PREFIX}probe-"
"""What a replica tries conditions with. It is no result, and one that is killed meanwhile leaves it behind."""
_UNACCOUNTED = re.compile(r'^yurt_unaccounted\{unit="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong."""

    wrong: Wrong
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class _Result:
    """All that is published of one object."""

    manifest: Manifest | None
    outputs: Mapping[str, Got]


async def of_results(bucket: FaultyBucket, histories: Mapping[str, History]) -> list[Violation]:
    """Whether each object's newest content is published, and nothing else."""
    published = await _published(bucket)
    known = set(histories)
    found = [Violation("left", f"{key} is of no object that was written") for key in published if key not in known]
    gate = asyncio.Semaphore(_ABREAST)

    async def one(history: History) -> list[Violation]:
        async with gate:
            return await _of_object(bucket, history, published.get(history.key, set()))

    for faults in await asyncio.gather(*(one(history) for history in histories.values())):
        found += faults
    return found


async def of_ledger(cluster: Cluster, histories: Mapping[str, History]) -> list[Violation]:
    """Whether every row has settled, and says what the bucket says."""
    rows = await cluster.query("select key, state::text, again, done_etag, error::text from objects")
    found = list[Violation]()
    for row in rows:
        wanted = histories[row["key"]].newest if row["key"] in histories else None
        ends = "done" if wanted and wanted.content else "gone"
        if row["rerun_requested"] or row["state"] not in ("done", "gone"):
            text = f"is {row['state']}{' and was heard of again' * row['again']}: {row['error']}"
            found.append(Violation("unsettled", text, row["key"]))
        elif row["state"] != ends or (wanted and wanted.content and row["done_etag"] != wanted.etag):
            text = f"the ledger says {row['state']} {row['done_etag']}, the bucket {wanted.etag if wanted else None}"
            found.append(Violation("lost", text, row["key"]))
    [quarantine] = await cluster.query("select count(*) from quarantine")
    if quarantine[0]:
        found.append(Violation("unsettled", f"{quarantine[0]} events are in quarantine, and all were good"))
    return found


async def of_balance(cluster: Cluster) -> list[Violation]:
    """Whether both replicas say that everything adds up, counted now and as a metric."""
    found = list[Violation]()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        for url in cluster.urls():
            token = {"authorization": f"Bearer {cluster.keys.admin}"}
            said = (await http.get(f"{url}/v1/status", headers=token)).json()["unaccounted"]
            shown = dict(_UNACCOUNTED.findall((await http.get(f"{url}/metrics")).text))
            if any(said.values()) or len(shown) != 2 or any(float(value) for value in shown.values()):
                found.append(Violation("unaccounted", f"{url}: counted {said}, exported {shown}"))
    return found


def of_watching(watcher: ResultWatcher) -> Iterator[Violation]:
    """What was seen on the way."""
    for key, text in watcher.faults:
        yield Violation("stale", text, key)
    if watcher.most_machines > MACHINES:
        which = "; ".join(watcher.machines)
        yield Violation("machines", f"{watcher.most_machines} machines at once, the limit is {MACHINES}: {which}")


def of_services(cluster: Cluster) -> Iterator[Violation]:
    """Services that ended when nobody had killed them, or did not end when they were told to."""
    for replica in cluster.replicas:
        if replica.fell:
            yield Violation("fell", f"{replica.name} ended by itself, {replica.fell} times: see its log")
    for name in cluster.left_late:
        yield Violation("process", f"{name} did not leave when it was told to, and was killed")


def of_logs(folder: Path, secrets: Collection[str]) -> Iterator[Violation]:
    """Whether a secret is in any log."""
    needles = [secret.encode() for secret in secrets]
    for path in sorted(folder.rglob("*.log")):
        text = path.read_bytes()
        if any(needle in text for needle in needles) or _SIGNATURE.search(text):
            yield Violation("secret", f"{path} holds a secret")


def keys_of(faults: Iterable[Violation]) -> list[str]:
    """The objects that are concerned, once each."""
    return list(dict.fromkeys(fault.key for fault in faults if fault.key))


async def _published(bucket: FaultyBucket) -> dict[str, set[str]]:
    """Names of outputs by the input's key."""
    found: dict[str, set[str]] = {}
    async for path in bucket.keys(OUTPUT):
        if not path.startswith(PROBE):
            key, _, name = path.removeprefix(PREFIX).rpartition("/")
            found.setdefault(key, set()).add(name)
    return found


async def _of_object(bucket: FaultyBucket, history: History, names: set[str]) -> list[Violation]:
    source = await bucket.get(INPUT, history.key)
    if source is None:
        return [Violation("left", f"deleted, but {', '.join(sorted(names))} is left", history.key)] if names else []
    result = await _result(bucket, history.key, names)
    if result.manifest is None:
        return [Violation("lost", f"no result for {source.etag}, only {sorted(names)}", history.key)]
    if result.manifest.input.etag != source.etag:
        return [Violation(*_not_newest(history, source.etag, result.manifest), history.key)]
    return [Violation(wrong, text, history.key) for wrong, text in _torn(source, result.manifest, result.outputs)]


async def _result(bucket: FaultyBucket, key: str, names: Collection[str]) -> _Result:
    got = {name: await bucket.get(OUTPUT, f"{PREFIX}{key}/{name}") for name in names}
    outputs = {name: found for name, found in got.items() if found}
    encoded = outputs.pop(MANIFEST, None)
    return _Result(Manifest.decode(encoded.content) if encoded else None, outputs)


def _not_newest(history: History, etag: str, manifest: Manifest) -> tuple[Wrong, str]:
    text = f"published is the result of {manifest.input.etag} (token {manifest.token}), newest is {etag}"
    # Once the newest was published, something older has taken its place; else nobody ever came to it.
    return ("stale" if history.reached else "lost"), text


def _torn(source: Got, manifest: Manifest, outputs: Mapping[str, Got]) -> Iterator[tuple[Wrong, str]]:
    named = {output.name: output.etag for output in manifest.outputs}
    if set(named) != {COPY, FACTS} or set(outputs) != set(named):
        yield "torn", f"the manifest names {sorted(named)}, published are {sorted(outputs)}"
        return
    for name, content in ((COPY, source.content), (FACTS, facts(source.content))):
        output = outputs[name]
        token = int(output.metadata.get("yurt-token", 0))
        # Something of an earlier lease lies where the later one had published: it was overwritten by who came late.
        wrong: Wrong = "stale" if token < manifest.token else "torn"
        if token != manifest.token:
            yield wrong, f"{name} is of token {token}, the manifest of {manifest.token}"
        if output.etag != named[name]:
            yield wrong, f"{name} has the ETag {output.etag}, the manifest says {named[name]}"
        if output.content != content:
            yield wrong, f"{name} is not of the newest content"
        if output.metadata.get("yurt-input-etag") != source.etag:
            yield wrong, f"{name} says that it is of {output.metadata.get('yurt-input-etag')}, newest is {source.etag}"
