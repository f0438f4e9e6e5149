"""Decides by a bucket's CORS rules what a browser is told, as S3 documents it.

The first rule that matches decides. A preflight has to match in its origin, its method and every header that it names;
an actual request in its origin and method. Unlike S3, a request of a page that no rule allows is refused: any page in
a browser on this machine could otherwise post a form to the local bucket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from infra.cors import CorsRule
from infra.local.exchange import BucketResponse, Call, error

PREFLIGHT = "OPTIONS"
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def preflight_answer(call: Call, rules: Sequence[CorsRule]) -> BucketResponse:
    """The answer to the question of a browser whether a page may make a request."""
    origin, method = call.header("origin"), call.header("access-control-request-method")
    if not origin or not method:
        missing = "Access-Control-Request-Method" if origin else "Origin"
        return error(400, "BadRequest", f"Insufficient information. {missing} request header needed.")
    asked = _names(call.header("access-control-request-headers"))
    rule = _first(rules, origin, method, asked)
    if rule is None:
        return error(
            403,
            "AccessForbidden",
            "CORSResponse: no CORS rule of this bucket allows this origin, this method and these headers together.",
        )
    headers = _allowing(rule, origin)
    if asked:
        headers["access-control-allow-headers"] = ", ".join(asked)
    if rule.max_age_seconds is not None:
        headers["access-control-max-age"] = str(rule.max_age_seconds)
    return BucketResponse(200, headers)


def allows_page(call: Call, rules: Sequence[CorsRule]) -> bool:
    """Whether a rule allows a request of the page that its Origin names."""
    return _first(rules, call.header("origin") or "", call.method, ()) is not None


def cors_headers(call: Call, rules: Sequence[CorsRule]) -> dict[str, str]:
    """What is added to the answer to a request, errors too. Empty where no page is concerned, or none may read it."""
    origin = call.header("origin")
    rule = _first(rules, origin, call.method, ()) if origin else None
    return _allowing(rule, origin) if rule and origin else {}


def _allowing(rule: CorsRule, origin: str) -> dict[str, str]:
    anyone = "*" in rule.origins
    headers = {
        "access-control-allow-origin": "*" if anyone else origin,
        "access-control-allow-methods": ", ".join(rule.methods),
        "vary": _VARY,
    }
    if not anyone:
        headers["access-control-allow-credentials"] = "true"
    if rule.exposed:
        headers["access-control-expose-headers"] = ", ".join(rule.exposed)
    return headers


def _first(rules: Iterable[CorsRule], origin: str, method: str, headers: Sequence[str]) -> CorsRule | None:
    for rule in rules:
        allowed = [header.lower() for header in rule.headers]
        if _matches(origin, rule.origins) and method in rule.methods and all(_matches(h, allowed) for h in headers):
            return rule
    return None


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) for pattern in patterns)


def _names(header: str | None) -> list[str]:
    return [name.strip().lower() for name in (header or "").split(",") if name.strip()]
