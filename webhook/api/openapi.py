"""Builds the OpenAPI 3.1 document from the table of endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from webhook.api.routes import Auth, Endpoint
from workers import protocol

_AUTH = {
    "webhook": "The store's secret: Bearer or Basic; or, of some sources, the query parameter token or a signature.",
    "once": "A worker's one-time token.",
    "worker": "A worker's token.",
    "app": "An app's token.",
    "ticket": "A ticket for uploads, or an app's token.",
    "admin": "The admin token.",
}

_ALTERNATIVES = {
    "webhook": ("webhook", "webhook-basic"),
    "app": ("app", "admin"),
    "ticket": ("ticket", "app", "admin"),
}


def openapi(table: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """Build the OpenAPI 3.1 document of the table."""
    models = {model for e in table for model in (e.takes, e.gives) if model} | {protocol.Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    references, definitions = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    schema_of: dict[Any, Any] = {model: reference for (model, _), reference in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Yurt", "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": _security_schemes(),
        },
    }


def _operation(endpoint: Endpoint, schema_of: dict[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {str(endpoint.status): {"description": endpoint.summary}}
    if endpoint.gives:
        responses[str(endpoint.status)]["content"] = {"application/json": {"schema": schema_of[endpoint.gives]}}
    if endpoint.media_type:
        responses[str(endpoint.status)]["content"] = {endpoint.media_type: {"schema": {"type": "string"}}}
    for status in sorted(endpoint.problems):
        responses[str(status)] = {
            "description": _PROBLEMS[status],
            "content": {"application/json": {"schema": schema_of[protocol.Problem]}},
        }
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.call.__name__,
        "responses": responses,
        "security": [] if endpoint.auth == "none" else _requirements(endpoint.auth),
        "parameters": [*_parameters(endpoint.path), *_query_parameters(endpoint.query)],
    }
    if endpoint.takes:
        operation["requestBody"] = {
            "required": not endpoint.may_be_empty,
            "content": {"application/json": {"schema": schema_of[endpoint.takes]}},
        }
    elif endpoint.auth == "webhook" and endpoint.method == "POST":
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return operation


def _parameters(path: str) -> list[dict[str, Any]]:
    if "{source}" in path:
        return [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}]
    if "{root}" in path:
        return [{"name": "root", "in": "path", "required": True, "schema": {"type": "string"}}]
    if "{pool}" in path:
        return [{"name": "pool", "in": "path", "required": True, "schema": {"type": "string"}}]
    if "{name}" in path:
        return [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    if "{id}" in path:
        schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
        return [{"name": "id", "in": "path", "required": True, "schema": schema}]
    return []


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    """Describe the fields of a query. A field that may be left out is not sent as null."""
    if query is None:
        return []
    described = query.model_json_schema()
    return [
        {"name": name, "in": "query", "schema": _written_out(_without_null(schema), described.get("$defs", {}))}
        for name, schema in described["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    return next((kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}), schema)


def _written_out(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Put a definition, such as that of an enumeration, where a field refers to it."""
    _, found, name = schema.get("$ref", "").partition("#/$defs/")
    return definitions[name] if found else schema


def _security_schemes() -> dict[str, Any]:
    bearer = {name: {"type": "http", "scheme": "bearer", "description": text} for name, text in _AUTH.items()}
    return {**bearer, "webhook-basic": {"type": "http", "scheme": "basic", "description": _AUTH["webhook"]}}


def _requirements(auth: Auth) -> list[dict[str, list[str]]]:
    # Several are alternatives: the admin token may do what an app may.
    names = _ALTERNATIVES.get(auth, (auth,))
    return [{name: []} for name in names]


_PROBLEMS = {
    400: "The body ended early, or says to be a message of Amazon SNS and is none.",
    401: "The credential is missing, wrong or revoked.",
    403: "Closed: no admin token is configured, the token lacks the scope, or it is for or from a foreign host.",
    404: "There is nothing of that name.",
    409: "The lease is lost, the pool is full, or the machine is in another state: nothing was changed.",
    408: "The body took too long to come.",
    413: "The body is too long.",
    422: "The body is not the message that belongs here.",
    429: "Too many calls of this worker are under way, or the token's rate is exceeded.",
    503: "The ledger or a provider is away, or too much waits: send it again after Retry-After.",
}
