"""Renders the page's templates, with headers that let a browser run and show nothing but what comes with the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from webhook.page.cookies import PageSession
from webhook.page.formats import FILTERS
from webhook.page.served_files import Assets


class Rendering:
    """Templates, and the headers of every answer that a browser shows.

    Args:
        assets: The files that templates name.
        stores: Origins of the buckets, as `allow` takes them.

    """

    headers: Mapping[str, str]
    """Of every answer that a browser shows."""

    def __init__(self, assets: Assets, stores: Sequence[str]) -> None:
        self._environment = Environment(
            loader=PackageLoader("webhook.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(asset=assets.path, address=address)
        self.allow(stores)

    def allow(self, stores: Sequence[str]) -> None:
        """Let browsers show images from these origins and upload to them: called when other buckets are defined."""
        self.headers = _headers(stores)

    def page(self, template: str, session: PageSession | None, status: int = 200, **values: Any) -> Response:
        """Answer with a whole page."""
        content = self.part(template, session=session, **values)
        return Response(content, status, {**self.headers, "content-type": "text/html; charset=utf-8"})

    def part(self, template: str, **values: Any) -> str:
        """Render a template."""
        return self._environment.get_template(template).render(values)


def _headers(stores: Sequence[str]) -> Mapping[str, str]:
    from_stores = "".join(f" {store}" for store in stores)
    policy = (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", f"img-src 'self' blob:{from_stores}",
        f"connect-src 'self'{from_stores}", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    )  # fmt: skip
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        # With "no-referrer" a browser would send "Origin: null" with forms, which the check of origins refuses.
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


def address(path: str, **query: object) -> str:
    """A path with a query, in which any character may stand; what is empty or None is left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{quote(path)}?{urlencode(given)}" if given else quote(path)


def redirect(where: str) -> Response:
    """Send the browser on to a path of the page, by GET."""
    return RedirectResponse(where, 303, {"cache-control": "no-store"})


def plain_sentence(message: str) -> str:
    """A message as a sentence: with a capital letter and a full stop."""
    text = message.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
