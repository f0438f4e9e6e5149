"""Puts the parts of the page together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from webhook.api.foreign_pages import ForeignPages
from webhook.api.status import StatusApi
from webhook.config import ServerSettings
from webhook.ledger.ledger import Ledger
from webhook.ledger.objects import ObjectRows
from webhook.ledger.sign_in_links import SignInLinks
from webhook.outputs.recent import RecentResults
from webhook.page.access import PageAuth
from webhook.page.changes import Changes
from webhook.page.cookies import Role, SessionCookies
from webhook.page.drops import Drops
from webhook.page.files import ResultFiles
from webhook.page.live import LiveFeed
from webhook.page.object_views import ObjectViews
from webhook.page.rendering import Rendering
from webhook.page.routes import page_routes
from webhook.page.served_files import Assets
from webhook.page.sign_in import SignIn
from webhook.page.snapshot import Snapshots
from webhook.page.views import Apis, Views
from webhook.pipelines import Pipelines
from webhook.pool_settings import Pool
from webhook.secret_settings import Secrets
from webhook.storage import ObjectStore
from webhook.uploads.places import UploadPlaces


@dataclass(frozen=True, slots=True)
class Page:
    """The page of one control plane."""

    routes: Sequence[Route]
    feed: LiveFeed


def open_page(
    server: ServerSettings,
    secrets: Secrets,
    ledger: Ledger,
    pipelines: Pipelines,
    pools: Mapping[str, Pool],
    store: ObjectStore,
    places: UploadPlaces,
    recent: RecentResults,
    status: StatusApi,
    apis: Apis,
    foreign: ForeignPages,
) -> Page:
    """Make the page's parts."""
    tokens = _tokens(secrets)
    secure = server.public_url.lower().startswith("https://")
    auth = PageAuth(SessionCookies(tokens, secure=secure), server.public_url)
    assets, objects = Assets(), ObjectRows(ledger)
    rendering = Rendering(assets, lambda: _origins(pipelines, store))
    files = ResultFiles(pipelines, store.presigner, auth)
    feed = LiveFeed(Snapshots(status, apis.machines, objects, recent, files, rendering).parts)
    routes = page_routes(
        SignIn(tokens, auth, SignInLinks(ledger), rendering),
        Views(apis, pipelines, pools, feed, auth, rendering),
        ObjectViews(objects, pipelines, store, files, auth, rendering),
        files,
        Drops(pipelines, store, places, objects, files, auth, rendering),
        Changes(apis, auth, rendering),
        assets,
        rendering,
        foreign,
    )
    return Page(routes, feed)


def _tokens(secrets: Secrets) -> dict[Role, str]:
    tokens: dict[Role, str] = {
        "admin": secrets.yurt_admin_token.get_secret_value(),
        "viewer": secrets.yurt_viewer_token.get_secret_value(),
    }
    return {role: token for role, token in tokens.items() if token}


def _origins(pipelines: Pipelines, store: ObjectStore) -> list[str]:
    """Where browsers fetch images from and upload to."""
    buckets = {place.bucket for pipeline in pipelines.all for place in (pipeline.input, pipeline.output)}
    return sorted({store.presigner.address(bucket, "")[0] for bucket in buckets})
