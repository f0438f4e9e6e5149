"""Defines pipelines, pools, models and services at run time: an app's set is replaced whole, or refused whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, read_model, read_optional_model, read_query
from webhook.definitions.assembly import KINDS, Fault, InvalidDefinitions, parsed
from webhook.definitions.changes import DefinitionChange, changes
from webhook.definitions.current import CurrentDefinitions
from webhook.ledger.definitions import (
    FILE,
    MAX_PAGE,
    DefinitionVersion,
    NameTaken,
    Replacement,
    Sets,
    VersionConflict,
)
from webhook.setting_types import PipelineName
from webhook.storage import StoreError
from workers.protocol import Problem

MAX_BODY_BYTES = 1 << 20
OWNER_PREFIX = "deploy:"
"""Begins the owners of sets that apps deployed."""
_BY_ADMIN = "admin token"

_OWNER = r"file|deploy:[a-z0-9][a-z0-9-]{0,49}"
_is_owner = re.compile(_OWNER).fullmatch

Note = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class DeploymentRequest(BaseModel):
    """What an app defines from now on. It takes the place of everything that the app defined before."""

    model_config = ConfigDict(extra="forbid")

    app: PipelineName
    definitions: dict[str, JsonValue]
    """Tables as in ``yurt.toml``: ``pipelines``, ``pools``, ``models``."""
    note: Note = ""
    """For people, such as a commit."""
    expected_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Refuse unless the app is at this version; 0: it must be new. Null: whichever it is."""
    dry_run: bool = False
    """Check and compare only."""


class RollbackRequest(BaseModel):
    """Which earlier version of an app is to hold again."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Null: the one before the present one."""
    note: Note = ""
    dry_run: bool = False


class RemovalQuery(BaseModel):
    """How an app is removed."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class ComparisonRequest(BaseModel):
    """A set that is compared with what an owner defines now."""

    model_config = ConfigDict(extra="forbid")

    owner: Annotated[str, Field(pattern=f"^({_OWNER})$")]
    definitions: dict[str, JsonValue]


class Deployment(BaseModel):
    """What a deployment changed, or would change."""

    app: str
    version: int
    """Of the app's set now: 1, 2, 3 …"""
    changed: bool
    dry_run: bool
    changes: list[DefinitionChange]


class VersionStatus(BaseModel):
    """One version of an app's set."""

    version: int
    note: str
    changed_by: str
    changed_at: datetime
    definitions: int
    """Number of definitions in it; 0: the app was removed."""


class FaultStatus(BaseModel):
    """One thing that is wrong with a set."""

    field: str
    reason: str


class InvalidSet(Problem):
    """Why a set was refused: code 422 and ``invalid-definitions``."""

    faults: list[FaultStatus]


class DefinitionStatus(BaseModel):
    """One definition that holds now."""

    kind: str
    name: str
    owner: str
    """``file``: ``yurt.toml``; ``deploy:APP``: what was deployed."""
    version: int
    """Version of the owner's set since which it is as it is."""
    changed_by: str
    changed_at: datetime
    body: dict[str, JsonValue]
    """Its settings, without defaults."""


class DefinitionList(BaseModel):
    """Everything that is defined now."""

    revision: int
    """Grows with each change."""
    definitions: list[DefinitionStatus]
    left_out: dict[str, list[FaultStatus]]
    """Owners whose sets do not hold on the replica that answers, and why."""
    file_differs: bool
    """Whether the replica that answers was started with another ``yurt.toml`` than the one that holds."""


class AppStatus(VersionStatus):
    """One app that was deployed, at its present version."""

    app: str


class DeploymentList(BaseModel):
    """Every app that was ever deployed."""

    deployments: list[AppStatus]


class VersionFilter(BaseModel):
    """Selects versions to list."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """``next`` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class DeploymentDetails(BaseModel):
    """One app: what it defines now, and its versions."""

    app: str
    definitions: dict[str, dict[str, JsonValue]]
    versions: list[VersionStatus]
    """Newest first."""
    left_out: list[FaultStatus]
    """Why nothing of it holds on the replica that answers; empty: it holds."""
    next: int | None
    """``before`` of the next page of versions. None: this is the last."""


class DeploymentApi:
    """Endpoints for definitions. ``bundle_there`` says whether a bundle of this root is in the bucket."""

    def __init__(
        self, definitions: CurrentDefinitions, bundle_there: Callable[[str], Awaitable[bool]], auth: AdminAuth
    ) -> None:
        self._current = definitions
        self._ledger = definitions.ledger
        self._bundle_there = bundle_there
        self._auth = auth

    async def deploy(self, request: Request) -> Response:
        """Put a set of definitions in the place of what the app defined before; all of it or nothing."""
        self._auth.require(request)
        wanted = await read_model(request, DeploymentRequest, MAX_BODY_BYTES)
        owner = OWNER_PREFIX + wanted.app
        with _refusals():
            sets = parsed(wanted.definitions)
        order = Replacement(owner, sets, _BY_ADMIN, wanted.note, wanted.expected_version, wanted.dry_run)
        return json_response(await self._replaced(order))

    async def rollback(self, request: Request) -> Response:
        """Let an earlier version of an app's set hold again, as its next version."""
        self._auth.require(request)
        return json_response(await self.rolled_back(request, await read_optional_model(request, RollbackRequest)))

    async def rolled_back(self, request: Request, wanted: RollbackRequest) -> Deployment:
        """Roll back the app that the path names. Raises HttpProblem 404, 409 or 422, LedgerUnavailable."""
        owner = _owner(request)
        versions = await self._ledger.versions(owner, most=1)
        if not versions:
            raise _unknown(owner)
        present = versions[0].version
        number = present - 1 if wanted.version is None else wanted.version
        sets = await self._ledger.at(owner, number)
        if sets is None:
            raise HttpProblem(
                404, "unknown-version", f"there is no version {number} of {owner}; the last one is {present}"
            )
        note = wanted.note or f"rollback to version {number}"
        return await self._replaced(Replacement(owner, sets, _BY_ADMIN, note, present, wanted.dry_run))

    async def remove_deployment(self, request: Request) -> Response:
        """Remove everything that an app defines. Its versions are kept: a rollback brings it back."""
        self._auth.require(request)
        return json_response(await self.removed(request, read_query(request, RemovalQuery)))

    async def removed(self, request: Request, query: RemovalQuery) -> Deployment:
        """Remove what the app that the path names defines. Raises HttpProblem 404 or 422, LedgerUnavailable."""
        owner = _owner(request)
        versions = await self._ledger.versions(owner, most=1)
        if not versions:
            raise _unknown(owner)
        return await self._replaced(Replacement(owner, {}, _BY_ADMIN, "removed", None, query.dry_run))

    async def compare(self, request: Request) -> Response:
        """Tell what would change if a set took the place of what its owner defines now. Changes nothing."""
        self._auth.require(request)
        wanted = await read_model(request, ComparisonRequest, MAX_BODY_BYTES)
        with _refusals():
            sets = parsed(wanted.definitions)
        return json_response(await self._replaced(Replacement(wanted.owner, sets, _BY_ADMIN, dry_run=True)))

    async def definitions(self, request: Request) -> Response:
        """List everything that is defined now, with owners and versions."""
        self._auth.require(request)
        return json_response(await self.listed())

    async def listed(self) -> DefinitionList:
        """Everything that is defined now. Raises LedgerUnavailable."""
        now = await self._ledger.now()
        listed = [
            DefinitionStatus(
                kind=each.kind,
                name=each.name,
                owner=each.owner,
                version=each.version,
                changed_by=each.changed_by,
                changed_at=each.changed_at,
                body=dict(each.body),
            )
            for each in now.definitions
        ]
        return DefinitionList(
            revision=now.revision,
            definitions=listed,
            left_out={owner: _shown(faults) for owner, faults in self._current.left_out.items()},
            file_differs=self._current.file_differs(now),
        )

    async def deployments(self, request: Request) -> Response:
        """List the apps that were deployed, with their present versions."""
        self._auth.require(request)
        return json_response(DeploymentList(deployments=await self.apps()))

    async def apps(self) -> list[AppStatus]:
        """Every app that was ever deployed. Raises LedgerUnavailable."""
        return [
            AppStatus(app=each.owner.removeprefix(OWNER_PREFIX), **_version(each).model_dump())
            for each in await self._ledger.owners()
            if each.owner != FILE
        ]

    async def deployment(self, request: Request) -> Response:
        """Show what an app defines now, and its versions."""
        self._auth.require(request)
        return json_response(await self.details(request, read_query(request, VersionFilter)))

    async def details(self, request: Request, query: VersionFilter) -> DeploymentDetails:
        """The app that the path names. Raises HttpProblem 404, LedgerUnavailable."""
        owner = _owner(request)
        versions = await self._ledger.versions(owner, query.before, query.limit)
        if not versions and query.before is None:
            raise _unknown(owner)
        now = await self._ledger.now()
        tables: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for each in now.definitions:
            if each.owner == owner:
                tables.setdefault(each.kind, {})[each.name] = each.body
        return DeploymentDetails(
            app=owner.removeprefix(OWNER_PREFIX),
            definitions=tables,
            versions=[_version(each) for each in versions],
            left_out=_shown(self._current.left_out.get(owner, ())),
            next=versions[-1].version if len(versions) == query.limit else None,
        )

    async def _replaced(self, order: Replacement) -> Deployment:
        """Replace a set. Raises HttpProblem 409 or 422, LedgerUnavailable."""
        if order.owner != FILE and not order.dry_run:
            await self._require_bundles(order.definitions)

        with _refusals():
            replaced = await self._ledger.replace(
                order,
                lambda others, before: self._current.assembly.check(order.owner, others, before, order.definitions),
            )
        if not order.dry_run:
            await self._current.refresh()  # this replica at once; the others are notified
        differs = changes(replaced.before, order.definitions)
        return Deployment(
            app=order.owner.removeprefix(OWNER_PREFIX),
            version=replaced.version,
            changed=bool(differs),
            dry_run=order.dry_run,
            changes=differs,
        )

    async def _require_bundles(self, sets: Sets) -> None:
        """Raise HttpProblem where a function's bundle is not in the bucket."""
        for (kind, name), body in sets.items():
            bundle = body.get("options", {}).get("bundle") if body.get("handler") == "function" else None
            if isinstance(bundle, str) and not await self._is_there(bundle):
                field = f"{kind}.{name}.options.bundle"
                raise _invalid([Fault(field, "there is no such bundle in the bucket: upload it with POST /v1/bundles")])

    async def _is_there(self, bundle: str) -> bool:
        """Whether a bundle is in the bucket. Raises HttpProblem 503."""
        try:
            return await self._bundle_there(bundle)
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", f"{error}. Deploy it again") from None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what a set is refused for into the problem that says so."""
    try:
        yield
    except InvalidDefinitions as error:
        raise _invalid(error.faults) from None
    except NameTaken as error:
        raise HttpProblem(409, "name-taken", f"{error}: choose another name") from None
    except VersionConflict as error:
        raise HttpProblem(409, "version-conflict", f"{error}: look at what was changed, and deploy again") from None


def _invalid(faults: Sequence[Fault]) -> HttpProblem:
    problem = HttpProblem(422, "invalid-definitions", "; ".join(map(str, faults)))
    problem.body = InvalidSet(error=problem.error, message=problem.message, faults=_shown(faults))
    return problem


def _owner(request: Request) -> str:
    """The owner that the path names. Raises HttpProblem 404 where no app can have that name."""
    owner: str = OWNER_PREFIX + request.path_params["app"]
    if not _is_owner(owner):
        raise _unknown(owner)
    return owner


def _unknown(owner: str) -> HttpProblem:
    app = owner.removeprefix(OWNER_PREFIX)[:50]
    return HttpProblem(404, "unknown-app", f"no app {app!r} was ever deployed: see yurt definitions list")


def _shown(faults: Sequence[Fault]) -> list[FaultStatus]:
    return [FaultStatus(field=each.field, reason=each.reason) for each in faults]


def _version(each: DefinitionVersion) -> VersionStatus:
    return VersionStatus(
        version=each.version,
        note=each.note,
        changed_by=each.changed_by,
        changed_at=each.changed_at,
        definitions=each.definitions,
    )
