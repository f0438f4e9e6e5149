"""Puts the parts of the page together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.routing import Route

from webhook.api.foreign_pages import ForeignPages
from webhook.api.status import StatusApi
from webhook.config import ServerSettings
from webhook.definitions.current import CurrentDefinitions
from webhook.ledger.ledger import Ledger
from webhook.ledger.objects import ObjectRows
from webhook.ledger.settles import SettleLog
from webhook.ledger.sign_in_links import SignInLinks
from webhook.page.access import PageAuth
from webhook.page.callback_views import CallbackViews
from webhook.page.changes import Changes
from webhook.page.cookies import Role, SessionCookies
from webhook.page.definition_views import DefinitionViews
from webhook.page.drops import Drops
from webhook.page.files import ResultFiles
from webhook.page.live import LiveFeed
from webhook.page.object_views import ObjectViews
from webhook.page.rendering import Rendering
from webhook.page.routes import page_routes
from webhook.page.served_files import Assets
from webhook.page.sign_in import SignIn
from webhook.page.snapshot import Snapshots
from webhook.page.token_views import TokenViews
from webhook.page.views import Apis, Views
from webhook.pipelines import Pipelines
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
    definitions: CurrentDefinitions,
    store: ObjectStore,
    places: UploadPlaces,
    settles: SettleLog,
    status: StatusApi,
    apis: Apis,
    foreign: ForeignPages,
) -> Page:
    """Make the page's parts."""
    tokens, pipelines = _tokens(secrets), definitions.pipelines
    secure = server.public_url.lower().startswith("https://")
    auth = PageAuth(SessionCookies(tokens, secure=secure), server.public_url)
    assets, objects = Assets(), ObjectRows(ledger)
    rendering = Rendering(assets, _origins(pipelines, store))
    definitions.on_change.append(lambda: rendering.allow(_origins(pipelines, store)))
    files = ResultFiles(pipelines, store.presigner, auth)
    feed = LiveFeed(Snapshots(status, apis.machines, objects, settles, files, rendering).parts)
    routes = page_routes(
        SignIn(tokens, auth, SignInLinks(ledger), rendering),
        Views(apis, pipelines, definitions.pools.settings, feed, auth, rendering),
        ObjectViews(objects, pipelines, store, files, auth, rendering),
        files,
        Drops(pipelines, store, places, objects, files, auth, rendering),
        Changes(apis, auth, rendering),
        DefinitionViews(apis.deployments, definitions.ledger, auth, rendering),
        CallbackViews(apis.callbacks, pipelines, auth, rendering),
        TokenViews(apis.tokens, auth, rendering),
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
