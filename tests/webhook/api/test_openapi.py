"""The published OpenAPI is valid, names every route, and is what the endpoints really answer."""

from __future__ import annotations

from typing import Any

import httpx
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from tests.webhook.apps import app_of
from tests.webhook.ordered_machines import intended
from tests.webhook.plane import WEBHOOK, RunningPlane, Worker, configured, control_plane, event
from tests.webhook.settlements import done, failed
from webhook.fleet.manual_workers import MANUAL
from webhook.ledger.machines import Stranger
from webhook.pool_settings import Pool

Document = dict[str, Any]


async def document_of(plane: RunningPlane) -> Document:
    return dict((await plane.http.get("/openapi.json")).json())


async def test_the_document_is_openapi_and_names_every_route(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        document = await document_of(plane)
        OpenAPIV31SpecValidator(document).validate()
        routes = {
            (route.path.replace(":path", ""), method)
            for route in plane.plane.app.routes
            if isinstance(route, Route)
            for method in route.methods or ()
            if method not in ("HEAD", "OPTIONS")  # of pages of other origins: test_cors.py
        }
        assert routes == {
            (path, method.upper()) for path, operations in document["paths"].items() for method in operations
        }
        operations = [operation for path in document["paths"].values() for operation in path.values()]
        assert all(operation["summary"].endswith(".") for operation in operations)
        ids = [operation["operationId"] for operation in operations]
        assert len(set(ids)) == len(ids)


class Contract:
    """Checks responses against the document, and notes which were seen."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.seen: set[tuple[str, str, int]] = set()

    def check(self, path: str, response: httpx.Response) -> None:
        """Fails where the response is not one of the document's."""
        method = response.request.method
        responses = self._document["paths"][path][method.lower()]["responses"]
        assert str(response.status_code) in responses, (
            f"{method} {path} answered {response.status_code}: {response.text}"
        )
        self.seen.add((path, method, response.status_code))
        content = responses[str(response.status_code)].get("content")
        if content:
            assert response.headers["content-type"] == "application/json"
            schema = content["application/json"]["schema"] | {"components": self._document["components"]}
            Draft202012Validator(schema).validate(response.json())

    def promised(self) -> set[tuple[str, str, int]]:
        """Every response that the document names."""
        return {
            (path, method.upper(), int(status))
            for path, operations in self._document["paths"].items()
            for method, operation in operations.items()
            for status in operation["responses"]
        }


async def check_admin_calls(plane: RunningPlane, contract: Contract, number: int) -> None:
    """Check the endpoints for administrators. ``number`` is an object's; the quarantine holds a text."""
    check, http = contract.check, plane.http
    await plane.sql("update objects set state = 'parked', worker_id = null where id = $1", number)
    for path, known in (("/v1/parked", number), ("/v1/quarantine", 1)):
        await _check_list(plane, contract, path)
        await _check_details(plane, contract, "GET", path, known)
    for path in ("/v1/parked/redrive", "/v1/parked/forget", "/v1/quarantine/replay"):
        for choice in ({"all": True}, {}):
            check(path, await plane.admin("POST", path, json=choice))
        check(path, await http.post(path, json={}))
    sweeps = "/v1/sweeps"
    for order in ({"dry_run": True}, {"pipelines": ["nowhere"]}, {"what": 1}):
        check(sweeps, await plane.admin("POST", sweeps, json=order))
    check(sweeps, await http.post(sweeps, json={}))
    await _check_list(plane, contract, sweeps)
    for method in ("GET", "DELETE"):
        await _check_details(plane, contract, method, sweeps, 1)
    await check_machine_calls(plane, contract)
    await check_pool_calls(plane, contract)
    await check_sign_in_link_calls(plane, contract)
    await check_token_calls(plane, contract)
    await check_definition_calls(plane, contract)
    await check_upload_calls(plane, contract)
    for query in ("", "?since=May"):
        check("/v1/costs", await plane.admin("GET", f"/v1/costs{query}"))
    check("/v1/costs", await http.get("/v1/costs"))
    for query in ("?pipeline=photos", "?pipeline=none", "?since=May"):
        check("/v1/logs", await plane.admin("GET", f"/v1/logs{query}"))
    check("/v1/logs", await http.get("/v1/logs"))


async def check_token_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoints for tokens of apps, and what such a token is told."""
    path = "/v1/tokens"
    made = await plane.admin("POST", path, json={"name": "app", "scopes": ["read:photos"]})
    contract.check(path, made)
    for body in ({}, {"name": "a", "scopes": ["everything"]}):
        contract.check(path, await plane.admin("POST", path, json=body))
    contract.check(path, await plane.http.post(path, json={}))
    contract.check(path, await plane.admin("POST", path, content=b" " * (5 << 20)))
    await _check_list(plane, contract, path)
    app = {"authorization": f"Bearer {made.json()['token']}"}
    for headers in (app, {}):
        contract.check("/v1/token", await plane.http.get("/v1/token", headers=headers))
    await _check_details(plane, contract, "DELETE", path, made.json()["id"])


async def check_definition_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoints for definitions, on an app that is deployed, changed, rolled back and removed."""
    path, compare, app = "/v1/deployments", "/v1/definitions/compare", "/v1/deployments/{app}"
    tables = {"pools": {"spare": {"provider": "none"}}}
    for body in (
        {"app": "spares", "definitions": tables},
        {"app": "spares", "definitions": {"pools": {"spare": {"provider": "none", "slots": 3}}}},
        {"app": "spares", "definitions": {}, "expected_version": 0},
        {"app": "others", "definitions": tables},
        {"app": "others", "definitions": {"pool": {}}},
        {},
    ):
        contract.check(path, await plane.admin("POST", path, json=body))
    contract.check(path, await plane.http.post(path, json={}))
    contract.check(path, await plane.admin("POST", path, content=b" " * (2 << 20)))
    for owner in ("file", "deploy:spares", "nobody"):
        compared = {"owner": owner, "definitions": tables}
        contract.check(compare, await plane.admin("POST", compare, json=compared))
    contract.check(compare, await plane.http.post(compare, json={}))
    for listed in (path, "/v1/definitions"):
        contract.check(listed, await plane.admin("GET", listed))
        contract.check(listed, await plane.http.get(listed))
    for name in ("spares", "nobody"):
        for order in ({}, {"version": 99}, {"versions": 1}):
            answer = await plane.admin("POST", f"/v1/deployments/{name}/rollback", json=order)
            contract.check(f"{app}/rollback", answer)
        contract.check(app, await plane.admin("GET", f"/v1/deployments/{name}"))
        for query in ("?limit=0", "?before=1"):
            contract.check(app, await plane.admin("GET", f"/v1/deployments/{name}{query}"))
        for query in ("?dry_run=true", "?dry_run=maybe", ""):
            contract.check(app, await plane.admin("DELETE", f"/v1/deployments/{name}{query}"))
    contract.check(path, await plane.admin("POST", path, json={"app": "others", "definitions": tables}))
    contract.check(f"{app}/rollback", await plane.admin("POST", "/v1/deployments/spares/rollback"))  # the name is taken
    for method, at in (("GET", ""), ("DELETE", ""), ("POST", "/rollback")):
        contract.check(f"{app}{at}", await plane.http.request(method, f"/v1/deployments/spares{at}"))


async def check_upload_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoints for uploads and events where no store answers: test_uploads.py has one."""
    app = await app_of(plane, "upload:*")
    for path, body in (("/v1/tickets", {"pipeline": "photos"}), ("/v1/uploads", {"pipeline": "photos", "size": 1})):
        for content in (body, {}, {**body, "pipeline": "nowhere"}):
            contract.check(path, await app.call("POST", path, json=content))
        contract.check(path, await plane.http.post(path, json=body))
        contract.check(path, await app.call("POST", path, content=b" " * (5 << 20)))
    one = "/v1/uploads/{id}"
    for method, verb in (("GET", ""), ("DELETE", ""), ("POST", "/parts"), ("POST", "/complete")):
        contract.check(f"{one}{verb}", await app.call(method, f"/v1/uploads/1{verb}", json={"numbers": [1]}))
        contract.check(f"{one}{verb}", await plane.http.request(method, f"/v1/uploads/1{verb}"))
    known = (await plane.sql("select key from objects limit 1"))[0]["key"]
    reader = await app_of(plane, "read:photos")
    for path, at in (("/v1/objects/{pipeline}", ""), ("/v1/objects/{pipeline}/{key}", f"/{known}")):
        for query in ("", "?what=1"):
            contract.check(path, await plane.admin("GET", f"/v1/objects/photos{at}{query}"))
        contract.check(path, await plane.admin("GET", f"/v1/objects/nowhere{at}"))
        contract.check(path, await reader.call("GET", f"/v1/objects/papers{at}"))
        contract.check(path, await plane.http.get(f"/v1/objects/photos{at}"))
    one = "/v1/objects/{pipeline}/{key}"
    contract.check(one, await reader.call("DELETE", f"/v1/objects/photos/{known}"))
    contract.check(one, await plane.admin("DELETE", "/v1/objects/nowhere/a.jpg"))
    contract.check(one, await plane.http.delete("/v1/objects/photos/a.jpg"))
    for query in ("?pipeline=nowhere", "?since=1"):
        contract.check("/v1/events", await plane.admin("GET", f"/v1/events{query}"))
    contract.check("/v1/events", await plane.http.get("/v1/events"))


async def check_sign_in_link_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoint for links to the page."""
    path = "/v1/sign-in-links"
    for body in (b"", b'{"valid_seconds": 0}', b" " * (5 << 20)):
        contract.check(path, await plane.admin("POST", path, content=body))
    contract.check(path, await plane.http.post(path))


async def check_pool_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoints for pools on one that a provider mints for, one that none does, and one that is not there."""
    path = "/v1/pools/{pool}/wake"
    for pool in ("empty", "local", "nowhere"):
        contract.check(path, await plane.admin("POST", path.format(pool=pool)))
    for body in ({"machines": 2, "seconds": 60}, {"machines": 0}):
        contract.check(path, await plane.admin("POST", path.format(pool="empty"), json=body))
    contract.check(path, await plane.admin("POST", path.format(pool="empty"), content=b" " * (5 << 20)))
    contract.check(path, await plane.http.post(path.format(pool="empty")))
    app = await app_of(plane, "wake:empty")
    for pool, body in (("empty", {"machines": 2}), ("empty", {"machines": 1_000}), ("local", {})):
        contract.check(path, await app.call("POST", path.format(pool=pool), json=body))


async def check_model_calls(plane: RunningPlane, contract: Contract, worker: Worker) -> None:
    """Check the endpoints for workers that need models, where there is none."""
    await check_service_calls(plane, contract, worker)
    path = "/v1/workers/progress"
    for body in ({"phase": "weights", "model": "safety"}, {}, b" " * (5 << 20)):
        contract.check(path, await worker.post("workers/progress", body))
    contract.check(path, await plane.http.post(path, json={}))
    model = "/v1/models/{root}"
    headers = {"authorization": f"Bearer {worker.token}"}
    for given in (headers, {}):
        contract.check(model, await plane.http.get(model.format(root="0" * 64), headers=given))


async def check_service_calls(plane: RunningPlane, contract: Contract, worker: Worker) -> None:
    """Check the endpoint for workers that run servers, on one that does, and on one that does not."""
    contract.check("/v1/services", await plane.admin("GET", "/v1/services"))
    contract.check("/v1/services", await plane.http.get("/v1/services"))
    path = "/v1/services/{name}/report"
    await plane.sql("insert into service_machines values ($1, 'echo', 0, yurt_now())", worker.id)
    for name, body in (
        ("echo", {"state": "starting"}),
        ("other", {"state": "ready"}),
        ("echo", {}),
        ("echo", b" " * (5 << 20)),
    ):
        contract.check(path, await worker.post(f"services/{name}/report", body))
    contract.check(path, await plane.http.post(path.format(name="echo"), json={}))
    await plane.sql("delete from service_machines")


async def check_function_calls(plane: RunningPlane, contract: Contract, worker: Worker) -> None:
    """Check the endpoints for functions and their bundles, where there is neither function nor place."""
    bundles, root = "/v1/bundles", "0" * 64
    for body in ({"root": root, "bytes": 1}, {}, {"root": root, "bytes": 1 << 40}):
        contract.check(bundles, await plane.admin("POST", bundles, json=body))
    contract.check(bundles, await plane.http.post(bundles, json={}))
    for headers in ({"authorization": f"Bearer {worker.token}"}, {}):
        contract.check(f"{bundles}/{{root}}", await plane.http.get(f"{bundles}/{root}", headers=headers))
    for verb in ("", "/begin", "/wait"):
        path = f"/v1/functions/{{name}}/calls{verb}"
        contract.check(path, await plane.admin("POST", path.format(name="none"), json={}))
        contract.check(path, await plane.http.post(path.format(name="none"), json={}))


async def check_machine_calls(plane: RunningPlane, contract: Contract) -> None:
    """Check the endpoints for machines on one that boots, is ready, and is gone, and on one of another installation."""
    await _check_list(plane, contract, "/v1/machines")
    # The first is of a provider that is not configured: no loop slays it meanwhile.
    machine, path = await intended(plane, "former"), "/v1/machines/{id}"
    local = await intended(plane)
    contract.check(f"{path}/log", await plane.admin("GET", f"/v1/machines/{local.id}/log"))
    await _check_details(plane, contract, "GET", "/v1/machines", machine.id)

    async def call(method: str, verb: str) -> None:
        url = f"/v1/machines/{machine.id}/{verb}"
        contract.check(f"{path}/{verb}", await plane.admin(method, url))
        contract.check(f"{path}/{verb}", await plane.http.request(method, url))
        contract.check(f"{path}/{verb}", await plane.admin(method, f"/v1/machines/0/{verb}"))

    await call("POST", "drain")  # 409: it has not called home
    await plane.hello(machine.token)
    for method, verb in (("GET", "log"), ("POST", "drain"), ("POST", "slay")):
        await call(method, verb)
    await plane.services.fleet.gone(machine.id)
    await call("POST", "slay")  # 409
    await plane.sql("update workers set provider = $2 where id = $1", machine.id, MANUAL)
    await call("GET", "log")  # 409
    await plane.services.fleet.note_strangers("local", [Stranger("yurt-a-0", "r-1")])
    for body in ({"label": "yurt-a-0"}, {"label": "yurt-a-1"}, {}):
        contract.check("/v1/strangers/slay", await plane.admin("POST", "/v1/strangers/slay", json=body))
    contract.check("/v1/strangers/slay", await plane.http.post("/v1/strangers/slay", json={"label": "yurt-a-0"}))


async def _check_list(plane: RunningPlane, contract: Contract, path: str) -> None:
    for query in ("", "?limit=0"):
        contract.check(path, await plane.admin("GET", f"{path}{query}"))
    contract.check(path, await plane.http.get(path))


async def _check_details(plane: RunningPlane, contract: Contract, method: str, path: str, known: int) -> None:
    for number in (known, 0):
        contract.check(f"{path}/{{id}}", await plane.admin(method, f"{path}/{number}"))
    contract.check(f"{path}/{{id}}", await plane.http.request(method, f"{path}/{known}"))


async def test_real_answers_are_those_of_the_document(postgres_dsn: str) -> None:
    hook, leases, one = "/v1/notifications/{source}", "/v1/leases", "/v1/leases/{id}"
    tigris = "/v1/notifications/tigris"
    bearer = {"authorization": f"Bearer {WEBHOOK}"}
    pools = {"local": Pool(provider="none"), "empty": Pool(limit=0)}
    async with control_plane(postgres_dsn, configured(pools=pools)) as plane:
        contract = Contract(await document_of(plane))
        check, http = contract.check, plane.http
        check(hook, await plane.post_events(event("a.jpg"), event("b.jpg"), event("c.jpg"), {"bad": 1}))
        check(hook, await plane.post_events(content=b"{", headers=bearer))
        check(hook, await http.post(tigris, json={}))
        check(hook, await http.post("/v1/notifications/nowhere", json={}))
        check(hook, await http.post(tigris, content=b" " * (9 << 20), headers=bearer))
        check(hook, await http.get(tigris))
        check(hook, await http.get("/v1/notifications/nowhere"))

        once = await plane.invite()
        for part in ("script", "wheel", "requirements"):
            at = f"/v1/bootstrap/{part}"
            check(at, await http.get(at, headers={"authorization": f"Bearer {once}"}))
            check(at, await http.get(at))
        check("/v1/workers/hello", await plane.hello(once))
        check("/v1/workers/hello", await plane.hello("unknown"))
        check("/v1/workers/hello", await plane.hello(once, "short"))
        worker = await plane.worker()
        check(leases, await worker.post("leases", {"max": 3}))
        check(leases, await worker.post("leases", {"max": -1}))
        check(leases, await http.post(leases, json={}))
        held = await plane.worker()
        await plane.notify(event("d.jpg"), event("e.jpg"))
        first, second = (await held.ask(most=2)).leases
        outputs = {
            "token": first.token,
            "etag": "x",
            "outputs": [{"name": "a", "size": 1, "content_type": "image/webp"}],
        }
        bodies: dict[str, Any] = {"outputs": outputs, "heartbeat": {"token": first.token}, "complete": done(first)}
        for call, body in bodies.items():
            check(f"{one}/{call}", await held.post(f"leases/{first.id}/{call}", body))
        check(f"{one}/fail", await held.post(f"leases/{second.id}/fail", failed(second)))
        bodies["fail"] = failed(first)
        for call, body in bodies.items():
            check(f"{one}/{call}", await held.post(f"leases/{first.id}/{call}", body))
            check(f"{one}/{call}", await held.post(f"leases/{first.id}/{call}", {}))
            check(f"{one}/{call}", await held.post(f"leases/0/{call}", body))
            check(f"{one}/{call}", await held.post(f"leases/{first.id}/{call}", b" " * (5 << 20)))
            check(f"{one}/{call}", await http.post(f"/v1/leases/1/{call}", json={}))

        check("/v1/status", await plane.admin("GET", "/v1/status"))
        check("/v1/status", await http.get("/v1/status"))
        for pool in ("local", "gpu", None):
            check("/v1/invitations", await plane.admin("POST", "/v1/invitations", json={"pool": pool}))
        check("/v1/invitations", await http.post("/v1/invitations", json={}))
        for number, body in ((1, {}), (4711, {}), (1, {"limit": 0})):
            answer = await plane.admin("POST", f"/v1/workers/{number}/distrust", json=body)
            check("/v1/workers/{id}/distrust", answer)
        check("/v1/workers/{id}/distrust", await http.post("/v1/workers/1/distrust", json={}))
        await check_model_calls(plane, contract, held)
        await check_function_calls(plane, contract, held)
        await check_admin_calls(plane, contract, first.id)
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            check(path, await http.get(path))
    # 400 takes a trusted topic, 403 a control plane without an admin token, 408 a slow client, 409 a full pool, 429 a
    # worker that calls too often, 503 a ledger that is away, and 413 a long body: elsewhere.
    unseen = {
        (path, status)
        for path, _, status in contract.promised() - contract.seen
        if status not in (400, 403, 408, 429, 503)
    }
    long = (
        "workers/hello",
        "workers/{id}/distrust",
        "leases",
        "invitations",
        "parked/redrive",
        "parked/forget",
        "quarantine/replay",
        "sweeps",
        "strangers/slay",
        "definitions/compare",
        "deployments/{app}/rollback",
    )
    # A model takes a store: test_models.py. So do bundles and calls of functions: test_bundles.py, test_calls.py.
    elsewhere = {
        ("/v1/invitations", 409),
        ("/v1/models/{root}", 200),
        ("/v1/bundles", 200),
        ("/v1/bundles/{root}", 200),
    }
    called = "/v1/functions/{name}/calls"
    elsewhere |= {(f"{called}{verb}", status) for verb in ("", "/begin", "/wait") for status in (200, 413, 422)}
    elsewhere |= {(f"{called}/begin", 409)}
    # Uploads take a store: test_uploads.py. A stream does not end: test_event_stream.py.
    one = "/v1/uploads/{id}"
    elsewhere |= {("/v1/uploads", 201), ("/v1/uploads", 409), ("/v1/events", 200), (f"{one}/complete", 409)}
    elsewhere |= {(f"{one}{verb}", 200) for verb in ("", "/parts", "/complete")}
    elsewhere |= {(f"{one}/parts", status) for status in (413, 422)}
    # So does deletion: test_object_deletion.py.
    elsewhere |= {("/v1/objects/{pipeline}/{key}", status) for status in (200, 409)}
    # Callbacks take a receiver, answers of services a machine: test_callbacks.py, test_answers.py.
    unseen = {(path, status) for path, status in unseen if not path.startswith(("/v1/callbacks", "/v1/answers"))}
    assert unseen == {(f"/v1/{path}", 413) for path in long} | elsewhere
