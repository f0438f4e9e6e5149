"""Documentation and code agree: settings, commands, endpoints, metrics, errors and states are documented, no others.

Needs no database: `make check` runs it.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

import click
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from tests.simulation.mutants import FOUND, MUTANTS
from webhook import cli, config, config_file, handler_settings
from webhook.api.answers import AnswerApi
from webhook.api.bootstrap import BootstrapApi
from webhook.api.bundles import BundleApi
from webhook.api.callbacks import CallbackApi
from webhook.api.calls import CallApi
from webhook.api.costs import CostApi
from webhook.api.deployments import DeploymentApi
from webhook.api.event_stream import EventApi
from webhook.api.health import HealthApi
from webhook.api.leases import LeaseApi
from webhook.api.machines import MachineApi
from webhook.api.models import ModelApi
from webhook.api.notifications import NotificationApi
from webhook.api.object_deletion import ObjectDeletionApi
from webhook.api.objects import ObjectApi
from webhook.api.parked import ParkedApi
from webhook.api.pools import PoolApi
from webhook.api.quarantine import QuarantineApi
from webhook.api.routes import endpoints
from webhook.api.run_logs import RunLogApi
from webhook.api.service_status import ServiceStatusApi
from webhook.api.services import ServiceApi
from webhook.api.sign_in_links import SignInLinkApi
from webhook.api.status import StatusApi
from webhook.api.sweeps import SweepApi
from webhook.api.tickets import TicketApi
from webhook.api.tokens import TokenApi
from webhook.api.uploads import UploadApi
from webhook.api.workers import WorkersApi
from webhook.ledger import transitions
from webhook.ledger.coalescing import Verdict
from webhook.ledger.machines import MachineState
from webhook.metrics import CHANGES, Metrics
from webhook.pool_schedule import Schedule
from webhook.pool_settings import Pool
from webhook.provider_settings import (
    DockerSettings,
    ExecSettings,
    FlySettings,
    KubernetesSettings,
    LocalSettings,
    RunpodSettings,
    VastSettings,
)
from webhook.provider_settings.docker import MountSettings
from webhook.provider_settings.kubernetes import CacheSettings, TolerationSettings
from webhook.secret_settings import Secrets
from webhook.service_settings import Service
from workers import manifest, protocol
from workers.handlers.registry import KINDS, options_model
from workers.lifecycle import Exit

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for glob in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in ROOT.glob(glob))
SOURCES = sorted(path for folder in ("webhook", "workers", "infra", "yurt") for path in (ROOT / folder).rglob("*.py"))

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"\b(?:YURT|AWS|SSL_CERT)_[A-Z0-9_]*[A-Z0-9]\b|\bDATABASE_URL\b")


# ── reading pages ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: Path
    language: str
    text: str


@dataclass(frozen=True)
class DocsRow:
    """A row of a table, below a heading."""

    heading: str
    column: str
    """Of the first cell."""
    cells: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names in backticks in the first cell."""
        return re.findall(r"`([^`]+)`", self.cells[0])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(*languages: str) -> list[Block]:
    found = [Block(path, m[2], m[3]) for path in PAGES for m in _FENCE.finditer(path.read_text(encoding="utf-8"))]
    return [block for block in found if block.language in languages]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text)


def matches(pattern: str, paths: Iterable[Path]) -> Iterator[Any]:
    """All matches of a pattern in files."""
    for path in paths:
        yield from re.findall(pattern, path.read_text(encoding="utf-8"))


def rows(name: str) -> Iterator[DocsRow]:
    """Every row of every table of a page."""
    heading, head = "", None
    for line in prose(page(name)).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        cells = tuple(cell.strip() for cell in line.strip("|").split("|")) if line.startswith("|") else None
        if cells is None or head is None:
            head = cells
        elif not set("".join(cells)) <= set("-: "):
            yield DocsRow(heading, head[0], cells)


def documented(name: str, column: str, heading: str = "") -> set[str]:
    """Names in the first column of tables with this column, below one heading or anywhere on the page."""
    return {n for row in rows(name) if row.column == column and heading in ("", row.heading) for n in row.names}


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "`server`": config.ServerSettings,
    "`sweep`": config.SweepSettings,
    "`retention`": config.RetentionSettings,
    "`pipelines.NAME`": config.Pipeline,
    "`models.NAME`": config.ModelSettings,
    "`services.NAME`": Service,
    "`pipelines.NAME.input` and `pipelines.NAME.output`": config.Place,
    "`pipelines.NAME.callback`": config.CallbackSettings,
    "`pipelines.NAME.limits`": handler_settings.HandlerLimits,
    "`pipelines.NAME.sandbox`": handler_settings.SandboxSettings,
    "`pools.NAME`": Pool,
    "`pools.NAME.schedules`": Schedule,
    "`providers.NAME` of the kind `local`": LocalSettings,
    "`providers.NAME` of the kind `docker`": DockerSettings,
    "`providers.NAME.mounts` of the kind `docker`": MountSettings,
    "`providers.NAME` of the kind `exec`": ExecSettings,
    "`providers.NAME` of the kind `fly`": FlySettings,
    "`providers.NAME` of the kind `kubernetes`": KubernetesSettings,
    "`providers.NAME.tolerations` of the kind `kubernetes`": TolerationSettings,
    "`providers.NAME.cache` of the kind `kubernetes`": CacheSettings,
    "`providers.NAME` of the kind `runpod`": RunpodSettings,
    "`providers.NAME` of the kind `vast`": VastSettings,
    **{f"Options of `{kind}`": handler.options for kind, handler in KINDS.items()},
}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _reachable(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            found |= _reachable(inner)
    return found


def test_every_model_of_the_configuration_has_a_section() -> None:
    options = {kind.options for kind in KINDS.values()}
    assert set(_SECTIONS.values()) == (_reachable(config.Config) - {config.Config}) | options


@pytest.mark.parametrize("heading", _SECTIONS)
def test_every_setting_is_documented(heading: str) -> None:
    assert documented("docs/configuration.md", "field", heading) == set(_SECTIONS[heading].model_fields)


@pytest.mark.parametrize("heading", _SECTIONS)
def test_every_default_is_the_documented_one(heading: str) -> None:
    fields = _SECTIONS[heading].model_fields
    for row in rows("docs/configuration.md"):
        if row.heading == heading and row.column == "field" and row.names[0] in fields:
            assert _default_of(row.cells[2]) == _plain(fields[row.names[0]].default), row


def _default_of(cell: str) -> object:
    if cell == "required":
        return PydanticUndefined
    return None if cell == "–" else tomllib.loads(f"default = {cell.strip('`')}")["default"]


def _plain(default: object) -> object:
    """A default as TOML writes it; an optional section has none."""
    if isinstance(default, BaseModel):
        return None
    return list(default) if isinstance(default, tuple) else default


# ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_variable_is_documented() -> None:
    # `YURT_SERVER__LISTEN` and its like are fields, and looked at below.
    read = {name for name in matches(_VARIABLE.pattern, SOURCES) if "__" not in name}
    read |= {name.upper() for name in Secrets.model_fields}
    read |= {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}  # httpx and botocore read them
    assert documented("docs/configuration.md", "variable") == read


@pytest.mark.parametrize("path", [*PAGES, ROOT / "Dockerfile", ROOT / "yurt.toml"], ids=lambda path: path.name)
def test_every_variable_on_a_page_exists(path: Path) -> None:
    known = documented("docs/configuration.md", "variable")
    for name in matches(_VARIABLE.pattern, [path]):
        parts = name.removeprefix("YURT_").lower().split("__")
        assert name in known or (len(parts) > 1 and _is_field(config.Config, parts)), name


def _is_field(annotation: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(parts[0])
        return field is not None and _is_field(field.annotation, parts[1:])
    if get_origin(annotation) is dict:
        return _is_field(get_args(annotation)[1], parts[1:])
    return get_origin(annotation) in (Union, UnionType) and any(_is_field(a, parts) for a in get_args(annotation))


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_TARGETS = set(re.findall(r"^([a-z]+):.*##", page("Makefile"), re.MULTILINE))


def _command(name: str) -> click.Command:
    command = cli.yurt.get_command(click.Context(cli.yurt), name)
    assert command is not None
    return command


def _options(command: click.Command) -> set[str]:
    """Options of a command; of a group, those of all its commands."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    return own.union(*map(_options, inner))


def test_every_command_is_documented() -> None:
    headings = re.findall(r"^## yurt (\w+)$", page("docs/commands.md"), re.MULTILINE)
    assert headings == cli.yurt.list_commands(click.Context(cli.yurt))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    assert documented("docs/commands.md", "option", f"yurt {name}") == _options(_command(name))


def test_every_exit_status_of_a_worker_is_documented() -> None:
    shown = {row.cells[0] for row in rows("docs/commands.md") if row.column == "exit status"}
    assert {str(int(status)) for status in Exit} <= shown


def test_every_target_is_documented() -> None:
    assert documented("docs/commands.md", "target") == {f"make {target}" for target in _TARGETS}


def _called() -> Iterator[tuple[Path, str]]:
    """Command lines: in blocks for a shell, and in the text."""
    for block in blocks("sh", "console", "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield block.page, line
    for path in PAGES:
        for code in re.findall(r"`((?:yurt|make|python) [^`]+)`", prose(path.read_text(encoding="utf-8"))):
            yield path, code


def test_every_command_line_names_what_exists() -> None:
    assert [f"{path.name}: {line}" for path, line in _called() if not (_yurt_exists(line) and _make_exists(line))] == []


def _yurt_exists(line: str) -> bool:
    for name, rest in re.findall(r"(?:^|[\s/(])yurt (?=[a-z])(\w+)([^|)#]*)", line):
        options = {word.partition("=")[0] for word in rest.split() if word.startswith("--")}
        if name not in cli.COMMANDS or not options <= _options(_command(name)):
            return False
    return True


def _make_exists(line: str) -> bool:
    called = " ".join(re.findall(r"(?:^|\s)make((?: [^\s|#]+)*)", line)).replace("-C yurt", "")
    return {word for word in called.split() if "=" not in word and word != "…"} <= _TARGETS


# ── what is seen from outside ────────────────────────────────────────────────────────────────────────────────────────


def test_every_endpoint_is_documented() -> None:
    table = endpoints(
        *(
            cast("Any", part)
            for part in (
                NotificationApi,
                LeaseApi,
                StatusApi,
                HealthApi,
                ParkedApi,
                QuarantineApi,
                SweepApi,
                WorkersApi,
                MachineApi,
                CostApi,
                RunLogApi,
                ModelApi,
                PoolApi,
                BootstrapApi,
                TokenApi,
                SignInLinkApi,
                BundleApi,
                CallApi,
                TicketApi,
                UploadApi,
                EventApi,
                DeploymentApi,
                ServiceApi,
                ServiceStatusApi,
                CallbackApi,
                ObjectApi,
                AnswerApi,
                ObjectDeletionApi,
            )
        )
    )
    assert documented("docs/protocol.md", "endpoint") == {f"{e.method} {e.documented_path}" for e in table}


_MESSAGES = {
    name: model
    for name, model in vars(protocol).items()
    if isinstance(model, type) and issubclass(model, protocol.Message) and model is not protocol.Message
}


@pytest.mark.parametrize("name", _MESSAGES)
def test_every_message_is_documented(name: str) -> None:
    assert documented("docs/protocol.md", "field", f"`{name}`") == set(_MESSAGES[name].model_fields)


def test_every_message_documented_exists() -> None:
    assert {row.heading.strip("`") for row in rows("docs/protocol.md") if row.column == "field"} == set(_MESSAGES)


def test_every_error_is_documented() -> None:
    raised = set(matches(r'Problem\(\s*(\d+), "([a-z-]+)"', SOURCES))
    raised |= {("404", "not-found"), ("405", "method-not-allowed")}  # raised by Starlette
    shown = {(row.cells[0], name) for row in rows("docs/protocol.md") if row.column == "status" for name in _codes(row)}
    assert shown == raised


def _codes(row: DocsRow) -> list[str]:
    return re.findall(r"`([^`]+)`", row.cells[1])


def test_every_verdict_is_documented() -> None:
    assert documented("docs/protocol.md", "verdict") == {verdict.value for verdict in Verdict}


def test_every_metric_is_documented() -> None:
    shown = {
        row.names[0]: set(re.findall(r"`(\w+)`", row.cells[1]))
        for row in rows("docs/operations.md")
        if row.column == "metric"
    }
    assert shown == _metrics()


def _metrics() -> dict[str, set[str]]:
    """Names as Prometheus shows them, with their labels.

    prometheus_client has no public way to ask for the labels of a metric that has no sample yet.
    """
    metrics = Metrics()
    owned = [part for part in vars(metrics).values() if hasattr(part, "_labelnames")]
    read = [family for family in metrics.registry.collect() if hasattr(family, "_labelnames")]
    found = {}
    for metric in [*owned, *read]:
        name = getattr(metric, "_name", None) or metric.name
        kind = getattr(metric, "_type", None) or metric.type
        found[f"{name}_total" if kind == "counter" else name] = set(metric._labelnames)
    assert {family.name for family in metrics.registry.collect()} == {name.removesuffix("_total") for name in found}
    return found


def test_every_reason_is_documented() -> None:
    """Codes that parked objects show."""
    raised = r'(?:HandlerError|OutputsRefused|Failure|[Ff]ailed)\(\s*(?:lease, )?"([a-z-]+)"'
    coded = raised + r'|\breason(?:: str =|=) ?"([a-z-]+)"'
    # In webhook/fleet/ the reasons are those to slay a machine.
    places = [path for path in SOURCES if not {"fleet", "infra"} & set(path.relative_to(ROOT).parts)]
    assert documented("docs/handlers.md", "reason") == {
        code for pair in matches(coded, places) for code in pair if code
    }


def test_every_field_of_a_result_is_documented() -> None:
    assert documented("docs/results.md", "field", "result.json") == set(manifest.Manifest.model_fields)
    parts = (protocol.Version, protocol.Output, manifest.Seconds)
    text = page("docs/results.md")
    assert [name for model in parts for name in model.model_fields if f"`{name}`" not in text] == []


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _state_diagrams() -> list[set[str]]:
    arrow = re.compile(r"^\s+([\w\[\]*]+) --> (\w+):", re.MULTILINE)
    drawn = [block.text for block in blocks("mermaid") if block.text.startswith("stateDiagram")]
    return [{state for pair in arrow.findall(text) for state in pair} - {"[*]"} for text in drawn]


def test_every_state_is_drawn_and_explained() -> None:
    objects = set(get_args(transitions.ObjectState)) | {"leased", "forgotten"}
    of_machines = {state.value for state in MachineState}
    assert _state_diagrams() == [objects, of_machines]
    assert documented("docs/states.md", "state", "An object") == objects
    assert documented("docs/states.md", "state", "A machine") == of_machines
    assert documented("docs/states.md", "lane") == set(get_args(transitions.Lane))


def test_every_outcome_is_explained() -> None:
    outcomes = {kind.name for kind in get_args(transitions.Outcome)}
    assert documented("docs/states.md", "outcome") == outcomes


def test_the_conservation_law_names_every_counter() -> None:
    [law] = [block.text for block in blocks("text") if block.text.startswith("received =")]
    assert {verdict.value for verdict in Verdict} | set(CHANGES) <= set(re.findall(r"\w+", law))


# ── snippets, links, trees ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page.name)
def test_every_configuration_shown_is_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Secrets.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "yurt.toml").write_text(block.text, encoding="utf-8")
    config_file.load(tmp_path / "yurt.toml", options_model)


def test_the_sample_is_valid() -> None:
    config_file.load(ROOT / "yurt.toml", options_model)


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page.name)
def test_every_function_shown_compiles(block: Block) -> None:
    defined: dict[str, Any] = {}
    exec(compile(block.text, block.page.name, "exec"), defined)
    assert {"Job", "yurt"} & set(defined)


def _anchors(path: Path) -> set[str]:
    """Anchors as GitHub makes them: lower case, no punctuation, hyphens for spaces, a number for a repeated one."""
    seen: dict[str, int] = defaultdict(int)
    found = set()
    for title in re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _links() -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
            if not target.startswith(("http://", "https://")):
                yield path, target


def test_every_link_has_a_target() -> None:
    assert [f"{path.name}: {target}" for path, target in _links() if not _has_target(path, target)] == []


def _has_target(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    there = (path.parent / name).resolve() if name else path
    return there.exists() and there.is_relative_to(ROOT) and (not anchor or anchor in _anchors(there))


def test_every_page_is_linked_from_the_readme() -> None:
    readme = ROOT / "README.md"
    linked = {(ROOT / target.partition("#")[0]).resolve() for path, target in _links() if path == readme}
    assert set(PAGES) - {readme} <= linked


def test_every_entry_of_the_file_tree_exists() -> None:
    tree = page("CONTRIBUTING.md").partition("### Where things are")[2]
    block = next(_FENCE.finditer(tree))[3]
    folder = ROOT
    for line in block.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        there = (folder if indent else ROOT) / name
        assert there.is_dir() if name.endswith("/") else there.is_file(), line
        folder = folder if indent else there


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads(page("pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", page("CHANGELOG.md"), re.MULTILINE)


def test_every_mutant_is_documented_with_its_seed() -> None:
    models = [row for row in rows("docs/guarantees.md") if row.heading == "Negative models"]
    shown = {row.cells[0].strip("`"): row.cells[1:] for row in models}
    assert shown == {name: (MUTANTS[name].effect, str(seed)) for name, seed in FOUND.items()}
