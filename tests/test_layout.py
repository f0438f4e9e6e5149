"""Layout: a test file for each module, short functions and modules, and tests that stay outside of private parts."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.sources import EXAMPLES, PRODUCTION, ROOT, PythonFile, sources

# ── a test file for each module ──────────────────────────────────────────────────────────────────────────────────────


class Cover(NamedTuple):
    """The test file that covers a module in place of one of its own."""

    test: str
    reason: str


COVERED_ELSEWHERE: Mapping[str, Cover] = {
    "webhook.cli.changes": Cover("tests/webhook/cli/test_definitions.py", "printed by each command there"),
    "webhook.cli.diff": Cover("tests/webhook/cli/test_definitions.py", "beside the other commands for definitions"),
    "webhook.cli.rollback": Cover("tests/webhook/cli/test_definitions.py", "of what was deployed there"),
    "webhook.fleet.activity": Cover("tests/webhook/fleet/test_autoscaler.py", "what the loops note there"),
    "webhook.fleet.pool_at_provider": Cover("tests/webhook/fleet/test_autoscaler.py", "run by the autoscaler"),
    "webhook.fleet.provider_loop": Cover("tests/webhook/fleet/test_autoscaler.py", "run by the autoscaler"),
    "webhook.provider_settings.exec": Cover(
        "tests/webhook/fleet/providers/test_exec.py", "what the exec provider is made of"
    ),
    "webhook.provider_settings.fly": Cover("tests/webhook/fleet/providers/test_fly.py", "what its machines are like"),
    "webhook.storage.client": Cover("tests/webhook/storage/test_store.py", "made by the store's client"),
    "workers.inference.errors": Cover("tests/workers/inference/test_client.py", "what a question raises"),
    "workers.servers.launcher": Cover("tests/workers/servers/test_server.py", "starts the servers there"),
    "workers.servers.served_job": Cover("tests/workers/servers/test_agent_servers.py", "what a lease gets there"),
    "webhook.answers.later_answers": Cover("tests/webhook/api/test_answers.py", "what becomes of requests"),
    "webhook.answers.spooled_answer": Cover("tests/webhook/api/test_answers.py", "bodies in the bucket, and too large"),
    "webhook.ledger.run_logs": Cover("tests/webhook/api/test_run_logs.py", "what is kept, and for how long"),
    "webhook.api.passed_on": Cover("tests/webhook/proxy/test_replica_ways.py", "what other replicas are answered"),
    "webhook.api.service_status": Cover("tests/webhook/cli/test_services.py", "what administrators are shown"),
    "webhook.proxy.exchange": Cover("tests/webhook/api/test_services.py", "machines are lost there"),
    "webhook.proxy.http_machine": Cover("tests/webhook/proxy/serving.py", "the way to stand-ins"),
    "webhook.proxy.orders": Cover("tests/webhook/api/test_services.py", "what workers are told there"),
    "webhook.proxy.tunnel_exchange": Cover("tests/workers/services/test_requests.py", "both of its ends are tried"),
    "webhook.proxy.tunnel_machine": Cover("tests/workers/services/answering.py", "requests go over it there"),
    "webhook.proxy.reach": Cover("tests/webhook/proxy/test_direct_machine.py", "a way to an address of a machine"),
    "webhook.proxy.registry": Cover("tests/webhook/proxy/serving.py", "ways appear there"),
    "webhook.proxy.sockets": Cover("tests/webhook/api/test_services.py", "messages pass both ways"),
    "workers.services.local_http": Cover("tests/workers/services/test_requests.py", "servers of each kind answer"),
    "workers.tunnel.stream": Cover("tests/workers/tunnel/test_link.py", "the link's streams"),
    "workers.tunnel.wires": Cover("tests/workers/services/test_ways.py", "dialled there"),
    "workers.message": Cover("tests/workers/test_protocol.py", "what all messages have"),
    "workers.progress_messages": Cover("tests/webhook/api/test_models.py", "what workers tell of there"),
    "workers.service_messages": Cover("tests/webhook/api/test_services.py", "what workers are told there"),
    "webhook.ledger_loops": Cover("tests/webhook/test_app.py", "run beside requests: reap"),
    "webhook.secret_settings": Cover("tests/webhook/test_config.py", "read beside the configuration"),
    "webhook.fleet.providers.kubernetes_check": Cover(
        "tests/webhook/fleet/providers/test_kubernetes.py", "checks before a real API server"
    ),
    "webhook.fleet.providers.kubernetes_job": Cover(
        "tests/webhook/fleet/providers/test_kubernetes.py", "a real API server takes what it describes"
    ),
    "webhook.provider_settings.local": Cover(
        "tests/webhook/fleet/providers/test_kinds.py", "what the local provider is made of"
    ),
    "webhook.provider_settings.runpod": Cover("tests/webhook/fleet/providers/test_runpod.py", "what its pods are like"),
    "webhook.fleet.providers.vast_answers": Cover(
        "tests/webhook/fleet/providers/test_vast.py", "offers and instances that the market shows"
    ),
    "webhook.callbacks.composer": Cover("tests/webhook/callbacks/delivery_bench.py", "what the app gets there"),
    "infra.models.publishing": Cover("tests/infra/test_models_travel.py", "publishes what travels there"),
    "infra.models.efficientnet_lite": Cover(
        "tests/infra/models/test_recommended.py", "its scores are known with its weights alone"
    ),
    "webhook.ledger.sign_in_links": Cover("tests/webhook/api/test_sign_in_links.py", "made and used up over HTTP"),
    "webhook.page.page": Cover("tests/webhook/page/test_sign_in.py", "each page that is opened"),
    "webhook.ledger.known_objects": Cover("tests/webhook/api/test_objects.py", "what apps are shown"),
    "webhook.api.readers": Cover("tests/webhook/api/test_event_stream.py", "who may listen"),
    "webhook.api.tickets": Cover("tests/webhook/api/test_uploads.py", "what browsers upload with"),
    "webhook.uploads.signing": Cover(
        "tests/webhook/api/test_uploads.py", "requests that a real store takes and refuses"
    ),
    "webhook.ledger.cursor": Cover("tests/webhook/ledger/test_parked.py", "pages of parked objects"),
    "webhook.ledger.leased_rows": Cover("tests/webhook/ledger/test_ledger_settling.py", "rows of its leases"),
    "webhook.ledger.ledger": Cover(
        "tests/webhook/ledger/test_ledger_settling.py", "split by subject: test_ledger_*.py"
    ),
    "webhook.ledger.track_records": Cover("tests/webhook/fleet/test_error_budget.py", "what workers are judged by"),
    "webhook.ledger.machines": Cover("tests/webhook/ledger/test_fleet.py", "states that the fleet's statements set"),
    "webhook.ledger.postgres_data": Cover("tests/webhook/ledger/test_postgres.py", "prepared at each start"),
    "webhook.ledger.postgres_programs": Cover("tests/webhook/ledger/test_postgres.py", "run at each start"),
    "webhook.ledger.quarantine": Cover("tests/webhook/api/test_quarantine.py", "listed and replayed over HTTP"),
    "webhook.ledger.sweeps": Cover("tests/webhook/api/test_sweeps.py", "ordered and read over HTTP"),
    "webhook.ledger.certificates": Cover(
        "tests/webhook/sources/test_sns_certificates.py", "read after a restart of the control plane"
    ),
    "webhook.sources.sns_calls": Cover("tests/webhook/sources/test_sns.py", "the calls that messages cause"),
    "webhook.sweep.listing": Cover("tests/webhook/sweep/test_sweeper.py", "pages of every sweep"),
    "workers.folder_use": Cover("tests/workers/sandbox/child/test_watch.py", "files of greedy jobs"),
    "workers.models.errors": Cover("tests/workers/models/test_download.py", "exception classes"),
    "workers.models.part_request": Cover("tests/workers/models/test_download.py", "each part of each download"),
    "workers.models.partial": Cover("tests/workers/models/test_cache.py", "folders of downloads that were cut off"),
    "workers.models.source_urls": Cover("tests/workers/models/test_download.py", "URLs that end in a download"),
    "workers.sandbox.proc": Cover("tests/workers/sandbox/child/test_watch.py", "processes of greedy jobs"),
    "workers.sandbox.child.jail.libc": Cover("tests/workers/sandbox/child/jail/test_seccomp.py", "one name"),
    "workers.sandbox.child.jail.policy": Cover("tests/workers/sandbox/child/jail/test_landlock.py", "one dataclass"),
    "workers.sandbox.child.jail.system_calls": Cover(
        "tests/workers/sandbox/child/jail/test_seccomp.py", "a table, whose calls the kernel refuses there"
    ),
    "yurt.client.answers": Cover("tests/yurt/client/test_events.py", "what events are"),
    "yurt.client.asynchronous": Cover("tests/yurt/client/test_documented.py", "the same methods, driven in each test"),
    "yurt.client.blocking": Cover("tests/yurt/client/test_documented.py", "the same methods, driven in each test"),
    "yurt.packing.errors": Cover("tests/yurt/packing/test_bundle.py", "one exception class"),
    "workers.sandbox.errors": Cover("tests/workers/sandbox/test_pool.py", "one exception class"),
    "webhook.sweep.orphaned_outputs": Cover("tests/webhook/sweep/test_manifests.py", "a sweep's stage for outputs"),
}
"""Modules without a test file at the mirrored path, with the one that covers them.

The named file has to mention the module's name or one of its public names. A module that has got a file of its
own has to leave this table.
"""


def _modules() -> Iterator[PythonFile]:
    for source in sources(*PRODUCTION):
        if source.path.name not in ("__init__.py", "__main__.py"):
            yield source


def _mirrored(source: PythonFile) -> str:
    """The path of a module's own test file."""
    folder, _, file = source.name.rpartition("/")
    return f"tests/{folder}/test_{file}"


def _public_names(source: PythonFile) -> Iterator[str]:
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _mentions(text: str, source: PythonFile) -> bool:
    names = {source.path.stem, *(name for name in _public_names(source) if not name.startswith("_"))}
    return re.search(rf"\b({'|'.join(map(re.escape, names))})\b", text) is not None


def test_every_module_has_a_test_file_or_a_stated_cover() -> None:
    wrong = list(_problems_of_cover())
    assert not wrong, "\n".join(wrong)


def _problems_of_cover() -> Iterator[str]:
    modules = {source.module: source for source in _modules()}
    for module, source in modules.items():
        own, cover = _mirrored(source), COVERED_ELSEWHERE.get(module)
        if (ROOT / own).exists():
            if cover:
                yield f"remove {module!r} from COVERED_ELSEWHERE: {own} exists"
        elif cover is None:
            yield f"add {own}, or {module!r} to COVERED_ELSEWHERE"
        elif not (ROOT / cover.test).exists():
            yield f"mend {module!r} in COVERED_ELSEWHERE: {cover.test} does not exist"
        elif not _mentions((ROOT / cover.test).read_text(encoding="utf-8"), source):
            yield f"mend {module!r} in COVERED_ELSEWHERE: {cover.test} mentions no name of it"
    for module in COVERED_ELSEWHERE:
        if module not in modules:
            yield f"remove {module!r} from COVERED_ELSEWHERE: there is no such module"


def test_folders_of_tests_mirror_the_packages() -> None:
    """A folder of tests mirrors a package, so that a module's test file is found without a search."""
    packages = {source.path.parent.relative_to(ROOT).as_posix() for source in sources(*PRODUCTION)}
    mirrors = {f"tests/{package}" for package in packages} | {
        "tests",
        "tests/examples",
        "tests/simulation",
        "tests/simulation/fleet",
        "tests/chaos",
        "tests/bench",
    }
    assert sorted(_test_folders() - mirrors) == []


def _test_folders() -> set[str]:
    return {source.name.rpartition("/")[0] for source in sources("tests") if source.path.name.startswith("test_")}


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

MEDIAN_LINES = 6
NINE_IN_TEN_LINES = 17
MODULE_LINES = 450


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement to the last, without docstring, signature and decorators; blank ones count."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _functions() -> Iterator[tuple[int, str]]:
    for source in sources(*PRODUCTION, EXAMPLES):
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _body_lines(node), f"{source.name}:{node.lineno} {node.name}"


def test_functions_are_short() -> None:
    functions = sorted(_functions())
    lines = [length for length, _ in functions]
    assert statistics.median(lines) <= MEDIAN_LINES
    longest = "\n".join(f"{length} {place}" for length, place in functions[-20:])
    assert lines[len(lines) * 9 // 10] <= NINE_IN_TEN_LINES, f"the longest:\n{longest}"


def test_no_module_is_long() -> None:
    lengths = {source.name: len(source.text.splitlines()) for source in sources(*PRODUCTION, EXAMPLES)}
    assert sorted((lines, name) for name, lines in lengths.items() if lines > MODULE_LINES) == []


# ── tests import no tests, and no private parts ──────────────────────────────────────────────────────────────────────

_TO_BE_MOVED = "to be removed: its helpers move to a module of their own"
IMPORTED_TESTS: Mapping[str, str] = {}
"""``importing file: imported test module`` that stays, with the reason."""

PRIVATE: Mapping[str, str] = {
    "tests/simulation/mutants.py": "a mutant replaces one private guard of the code, and nothing else",
    "tests/simulation/fleet/mutants.py": "the same",
    "tests/simulation/history.py: _log_destroy_pending": "asyncio has no public way to drop a pending task silently",
    "tests/test_docs.py: _labelnames": "prometheus_client does not show the labels of a metric without samples",
}
"""``file: attribute``, or a whole file, that may reach into private parts, with the reason."""


def _imported_tests(source: PythonFile) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (module for module in modules if module.rpartition(".")[2].startswith("test_"))


def test_helpers_live_outside_of_test_files() -> None:
    found = {f"{source.name}: {module}" for source in sources("tests") for module in _imported_tests(source)}
    unexpected = sorted(found - set(IMPORTED_TESTS))
    assert not unexpected, "move what is imported to a module that is not called test_*:\n" + "\n".join(unexpected)
    assert set(IMPORTED_TESTS) <= found, "gone: take it out of IMPORTED_TESTS"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_own(node: ast.expr) -> bool:
    """``self``, ``cls`` or ``super()``; and ``os``, whose ``_exit`` is public in spite of its name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "os")


def _private_parts(source: PythonFile) -> Iterator[str]:
    own = {name for node in source.nodes if isinstance(node, ast.ClassDef) for name in _defined_in(node)}
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            if node.attr not in own:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (alias.name for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("patch.object", "monkeypatch.setattr")):
            yield from (
                arg.value
                for arg in node.args
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and _is_private(arg.value)
            )


def _defined_in(cls: ast.ClassDef) -> Iterator[str]:
    """Private attributes of a class of the same file: its own code may use them on other objects of it."""
    for node in ast.walk(cls):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and _is_own(node.value) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_no_test_reaches_into_private_parts() -> None:
    found = {f"{source.name}: {name}" for source in sources("tests") for name in _private_parts(source)}
    unexpected = sorted(use for use in found if use not in PRIVATE and use.partition(":")[0] not in PRIVATE)
    assert not unexpected, "use or add a public way:\n" + "\n".join(unexpected)
    used = found | {use.partition(":")[0] for use in found}
    assert set(PRIVATE) <= used, "gone: take it out of PRIVATE"
