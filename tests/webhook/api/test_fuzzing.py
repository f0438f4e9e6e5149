"""Requests of every kind, made from the published OpenAPI: the answers are those of the document, and show nothing.

The same requests in every run. A failure names the operation, and prints the request as a line for curl.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.infra.local.running import SECRET_KEY
from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.apps import App, app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import ADMIN, WEBHOOK, RunningPlane, configured, control_plane, event, pipeline
from tests.webhook.settlements import failed
from webhook.ledger.machines import Stranger
from webhook.pool_settings import Pool
from workers.protocol import Lease

EXAMPLES = 8
"""An operation."""
HANG_SECONDS = 15.0
LONGEST_POLL_SECONDS = 30
STORE_SECRET = SECRET_KEY
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ACCEPTED: dict[tuple[str, str], Any] = {
    ("redrive", "POST"): {"all": True, "dry_run": True},
    ("forget", "POST"): {"all": True, "dry_run": True},
    ("replay", "POST"): {"all": True, "dry_run": True},
    ("sweeps", "POST"): {"kind": "full", "dry_run": True},
    ("invitations", "POST"): {"pool": "local"},
    ("tickets", "POST"): {"pipeline": "photos", "uploads": 10_000},
    ("uploads", "POST"): {"pipeline": "photos", "size": 1},
    ("parts", "POST"): {"numbers": [1]},
    ("tokens", "POST"): {"name": "app", "scopes": ["upload:photos"]},
    ("bundles", "POST"): {"root": "0" * 64, "bytes": 1},
    ("calls", "POST"): {"calls": [{"id": "a" * 32, "bytes": 1}]},
    ("begin", "POST"): {"ids": ["a" * 32]},
    ("wait", "POST"): {"ids": ["a" * 32]},
    ("deployments", "POST"): {"app": "app", "definitions": {"pools": {"spare": {"provider": "none"}}}},
    ("compare", "POST"): {"owner": "deploy:app", "definitions": {}},
    ("rollback", "POST"): {"version": 1},
    ("outputs", "POST"): {"token": 1, "etag": "e", "outputs": [{"name": "a", "size": 1, "content_type": "a/b"}]},
}
"""Bodies that are accepted, for operations that may refuse every generated name or filter. By the path's end."""
ENDLESS = ("/v1/events",)
"""Answers that do not end: test_event_stream.py."""
AnyCase: TypeAlias = Case[Any]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
BUNDLE = "b" * 64
FUNCTION = {"handler": "function", "options": {"bundle": BUNDLE, "function": "app:one", "calls": True}}
POOLS = {"local": Pool(provider="none"), "minted": Pool()}
STRANGER = "yurt-local-99999999000000000000"
KNOWN_FIELDS = {"strangers": {"label": STRANGER}}
"""Of bodies, by the first part of the path."""
SOURCES = ("tigris", "s3", "gcs", "b2")


@dataclass
class KnownSecrets:
    """Credentials and numbers that an authorised caller knows."""

    bucket: str
    tokens: dict[str, str] = field(repr=False)
    """By security scheme."""
    leases: list[Lease]
    fresh: list[Lease]
    """Live ones that are given to one settlement each."""
    roots: dict[str, str]
    """Of a model and of a bundle, by the first part of the path."""
    numbers: dict[str, list[int]]
    """Of what there is, by the first part of the path."""


# Schemathesis chooses mutations with the module random, whose state hypothesis sets before each example.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_answers_are_those_of_the_document(postgres_dsn: str, store: LocalStore, mode: GenerationMode) -> None:
    buckets = BucketPair.made(store)
    for key in ("a.onnx", f"bundles/{BUNDLE}", f"calls/{'a' * 32}"):
        buckets.put(key)
    photos = pipeline(buckets.inputs, buckets.outputs, content_types=["*/*"], models=["safety"])
    model = {"source": f"s3://{buckets.outputs}/a.onnx"}
    async with control_plane(
        postgres_dsn,
        configured(
            {
                "photos": photos,
                "one-calls": pipeline(f"{buckets.outputs}/calls", f"{buckets.outputs}/values", **FUNCTION),
            },
            models={"safety": model},
            pools=POOLS,
            server={"bundles": f"s3://{buckets.outputs}/bundles"},
        ),
        store=store.endpoint,
        loops=False,
        aws_secret_access_key=STORE_SECRET,
    ) as plane:
        document = (await plane.http.get("/openapi.json")).json()
        known = await prepared(plane, buckets.inputs)
        seen = await asyncio.to_thread(fuzz, plane.url, document, mode, known)
        assert (await plane.admin("GET", "/v1/status")).status_code == 200
        assert await plane.unaccounted() == {"events": 0, "changes": 0}
    if mode is GenerationMode.POSITIVE:
        # Not only refusals: on every path, what is well formed and allowed gets through.
        finite = {path: each for path, each in document["paths"].items() if path not in ENDLESS}
        operations = {(path, method) for path, methods in finite.items() for method in methods}
        # No callback without an app that is told, no answer without a machine: test_callbacks.py, test_answers.py.
        operations -= {("/v1/callbacks/replay", "post"), ("/v1/callbacks/{id}", "get")}
        operations -= {("/v1/answers/{id}", "get"), ("/v1/answers/{id}", "delete")}
        assert {(path, method) for path, method, status in seen if status < 300} == operations


async def prepared(plane: RunningPlane, bucket: str) -> KnownSecrets:
    """Make objects in several states, a worker with leases, and quarantined texts."""
    await plane.services.catalogue.look()
    [model] = plane.services.catalogue.refs(["safety"])
    worker, spare, minted = await plane.worker(), await plane.worker(), await plane.worker()
    await plane.sql("update workers set slots = 64")  # to hold so many leases
    await plane.sql("update workers set provider = 'local' where id = $1", minted.id)  # which has its log
    files = (event(f"{number}.jpg", bucket=bucket) for number in range(70))
    await plane.notify(*files, *({"bad": number} for number in range(5)))
    leases = (await worker.ask(most=60)).leases
    given_up, held, fresh = leases[:10], leases[10:30], leases[30:]
    await worker.ask(most=0, settle=[failed(lease, retry=False, log="no traceback") for lease in given_up])
    await plane.services.fleet.note_strangers("local", [Stranger(STRANGER, "r-1")])
    await plane.sql("insert into service_machines values ($1, 'echo', 0, yurt_now())", worker.id)
    app = await app_of(plane, "read:*", "upload:*", "delete:*", "call:*", "wake:*")
    await app_of(plane)  # its token may be revoked
    ticket = await app.ticket(uploads=10_000)
    [spare_id] = [row["id"] for row in await plane.sql("select max(id) as id from app_tokens")]
    for pool in ("first", "second"):
        tables = {"pools": {pool: {"provider": "none"}}}
        await plane.admin("POST", "/v1/deployments", json={"app": "app", "definitions": tables})
    texts = [row["id"] for row in await plane.sql("select id from quarantine")]
    return KnownSecrets(
        bucket,
        {
            "webhook": WEBHOOK,
            "admin": ADMIN,
            "app": app.secret,
            "ticket": ticket.secret,
            "worker": worker.token,
            "once": await plane.invite(),
        },
        held,
        fresh,
        {"models": model.root, "bundles": BUNDLE},
        {
            "leases": [lease.id for lease in held],
            "parked": [lease.id for lease in given_up],
            "quarantine": texts,
            "workers": [spare.id],
            "machines": [minted.id],
            "tokens": [spare_id],
            "uploads": [await uploaded(ticket) for _ in range(20)],
        },
    )


async def uploaded(app: App) -> int:
    """Upload a file in parts, all but its completion. Returns the upload's number."""
    number = int((await app.upload(pipeline="photos", size=5, multipart=True))["multipart"]["id"])
    signed = await app.call("POST", f"/v1/uploads/{number}/parts", json={"numbers": [1]})
    async with httpx.AsyncClient() as http:
        answer = await http.put(signed.json()["parts"][0]["url"], content=b"hello")
    assert answer.status_code == 200, answer.text
    return number


def fuzz(url: str, document: dict[str, Any], mode: GenerationMode, known: KnownSecrets) -> set[tuple[str, str, int]]:
    """Call every operation as the document allows or forbids. Returns path, method and status of each response."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    seen: set[tuple[str, str, int]] = set()
    with requests.Session() as session:
        session.trust_env = False
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if operation.path in ENDLESS:
                continue
            # A name in a path or a call without arguments cannot be malformed.
            if mode is GenerationMode.POSITIVE or operation.body or operation.query or "{id}" in operation.path:
                with named_in_failures(operation):
                    attack(operation, mode, session, known, seen)
    return seen


@contextlib.contextmanager
def named_in_failures(operation: Operation) -> Iterator[None]:
    """Add the operation to a failure's message."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"{operation.method.upper()} {operation.path}")
        raise


def attack(
    operation: Operation,
    mode: GenerationMode,
    session: requests.Session,
    known: KnownSecrets,
    seen: set[tuple[str, str, int]],
) -> None:
    """Send one operation's requests. Well-formed ones carry the right credential until one of them has succeeded."""
    here = [operation.path, operation.method]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def once(case: AnyCase, data: st.DataObject) -> None:
        schemes = {scheme for choice in operation.definition.raw["security"] for scheme in choice}
        credential, right = data.draw(credentials(schemes, known))
        if mode is GenerationMode.POSITIVE:
            if not any(seen_at == here and status < 300 for *seen_at, status in seen):
                credential, right = next(iter(readers(operation.path, schemes, known)), credential), True
                accepted = ACCEPTED.get((case.operation.path.rpartition("/")[2], case.method), case.body)
                case.body = copy.deepcopy(accepted)
            fill_in_known(case, known, data)
        shorten_wait(case)
        response = case.call(session=session, headers={"authorization": credential}, timeout=HANG_SECONDS)
        seen.add((operation.path, operation.method, response.status_code))
        check_response(case, response, known)
        # The one-time token is checked together with what it is exchanged for, a ticket may come within the query.
        refused = (401, 404, 422) if {"once", "ticket"} & schemes else (401, 404)
        assert right or response.status_code in refused, case.as_curl_command()

    once()


def credentials(schemes: set[str], known: KnownSecrets) -> st.SearchStrategy[tuple[str, bool]]:
    """A value of the Authorization header, and whether it is accepted: mostly the right one, sometimes another's."""
    right = allowed(schemes, known)
    others = {f"Bearer {token}" for scheme, token in known.tokens.items()} - right
    odd = {"", "Bearer", "Basic dXNlcjpwYXNz", "Bearer \xff", "Digest x", "bearer  ", "Basic \xe9", "Basic ===="}
    wrong = st.sampled_from(sorted(others | odd)).map(lambda value: (value, not schemes))
    if not right:
        return wrong
    known_to_us = st.sampled_from([(value, True) for value in sorted(right)])
    return st.one_of(known_to_us, known_to_us, known_to_us, wrong)


def allowed(schemes: set[str], known: KnownSecrets) -> set[str]:
    """Values of the Authorization header that are accepted."""
    return {f"Bearer {token}" for scheme, token in known.tokens.items() if scheme in schemes}


def readers(path: str, schemes: set[str], known: KnownSecrets) -> list[str]:
    """Values of the Authorization header that get through: a ticket reads what it has uploaded, and nothing else."""
    if path.startswith("/v1/objects/") and "app" in schemes:
        return [f"Bearer {known.tokens['app']}"]
    if "ticket" in schemes:
        return [f"Bearer {known.tokens['ticket']}"]
    return sorted(allowed(schemes, known))


def fill_in_known(case: AnyCase, known: KnownSecrets, data: st.DataObject) -> None:
    """Let requests name existing rows: a generated number finds none."""
    kind = case.operation.path.removeprefix("/v1/").partition("/")[0]
    body: Any = case.body
    if "source" in case.path_parameters:
        case.path_parameters["source"] = data.draw(st.sampled_from(SOURCES))
        if case.path_parameters["source"] == "tigris" and case.method == "POST":
            case.body = {"events": [event("a.jpg", bucket=known.bucket), body]}
    named = {
        "pool": "minted", "root": known.roots.get(kind, ""), "app": "app", "pipeline": "photos", "key": "65.jpg",
        "name": {"functions": "one"}.get(kind, "echo"),
    }  # fmt: skip
    case.path_parameters.update({name: named[name] for name in case.path_parameters if name in named})
    if "id" in case.path_parameters:
        case.path_parameters["id"] = data.draw(st.sampled_from(known.numbers.get(kind, [1])))
        if kind == "leases" and case.operation.path.endswith(("/complete", "/fail")) and known.fresh:
            lease = known.fresh.pop()
            known.leases.append(lease)
            case.path_parameters["id"] = lease.id
    if not isinstance(body, dict):
        return
    body.update(KNOWN_FIELDS.get(kind, {}))
    settled = body.get("settle", [])
    for message in (body, *(settled if isinstance(settled, list) else ())):
        if kind == "leases" and isinstance(message, dict) and "token" in message:
            lease = data.draw(st.sampled_from(known.leases))
            number = case.path_parameters.get("id", lease.id)
            message["token"] = next(lease.token for lease in known.leases if lease.id == number)
            if "id" in message:
                message["id"] = number
    if "pool" in body:
        body["pool"] = data.draw(st.sampled_from(["local", body["pool"]]))


def shorten_wait(case: AnyCase) -> None:
    """Shorten long polls: there is no work to wait for."""
    if case.query and "wait" in case.query:
        case.query["wait"] = min(case.query["wait"], 0.01) if isinstance(case.query["wait"], int | float) else 0
    body: Any = case.body
    wait = body.get("wait") if isinstance(body, dict) else None
    if isinstance(wait, int | float) and 0 <= wait <= LONGEST_POLL_SECONDS:
        body["wait"] = min(wait, 0.01)


def check_response(case: AnyCase, response: Response, known: KnownSecrets) -> None:
    """Check a response against the document, and that it shows no secret."""
    case.validate_response(response, checks=CHECKS if response.status_code == 503 else [not_a_server_error, *CHECKS])
    shown = response.content.decode("latin-1") + json.dumps(dict(response.headers))
    for secret in (*known.tokens.values(), STORE_SECRET, "Traceback (most recent", "asyncpg", "postgresql://"):
        assert secret not in shown, case.as_curl_command()
