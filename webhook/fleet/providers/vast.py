"""Vast provider: rents machines of the market Vast.ai, from people's own computers to data centers.

An instance carries its label, which is used in one creation only. Nothing on Vast.ai's side ends an instance after a
while, and a stopped one still pays for its disk: all that are listed are paid for until they are destroyed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import structlog

from webhook.bootstrap.start_command import start_command
from webhook.fleet.providers import (
    BOOT_LOG_CHARACTERS,
    Instance,
    MintOrder,
    Offer,
    OfferGone,
    ProviderError,
    ProviderFinding,
    is_own,
    require_own,
    slays_itself,
)
from webhook.fleet.providers.http_api import ApiAnswer
from webhook.fleet.providers.reachability import refuse_unreachable
from webhook.fleet.providers.registry_image import RegistryImage, RegistryLogin, image_finding
from webhook.fleet.providers.vast_answers import contract_of, is_id, read_instance, read_offer
from webhook.fleet.providers.vast_api import VastApi, VastPace, code_of, failure, succeeded
from webhook.fleet.providers.vast_logs import fetch_log
from webhook.provider_settings.vast import API, VastSettings

log = structlog.get_logger()

MOST_OFFERS = 100
MOST_PAGES = 100
PAGE = 25
LIST_SECONDS = 2.0 * MOST_PAGES
"""A page a second, and twice as long where a second provider with the key lists too."""
LAG_SECONDS = 30.0
_ONE_HOUR = Decimal(1)
_GONE = "no_such_instance"


class VastProvider:
    """Instances of one account at Vast.ai. See `Provider`.

    Args:
        owner: What the labels of this installation begin with.
        settings: What to search for, and what instances are like.
        key: ``VAST_API_KEY``. It goes to Vast.ai alone, never to a host.
        pace: Of the key's calls, shared by all providers with that key.
        url: Base of the API.
        login: At the image's registry; None: a public image.
        call_seconds: Deadline of one call.
        log_seconds: Deadline of fetching a log.

    """

    offer_seconds = 60.0
    list_seconds = LIST_SECONDS

    def __init__(
        self,
        owner: str,
        settings: VastSettings,
        key: str,
        pace: VastPace,
        *,
        url: str = API,
        login: RegistryLogin | None = None,
        call_seconds: float = 20.0,
        log_seconds: float = 10.0,
    ) -> None:
        # A pretend market on this machine shows at once what it did.
        self.lag_seconds = 0.0 if settings.same_machine else LAG_SECONDS
        self._owner = owner
        self._settings = settings
        self._login = login
        self._log_seconds = log_seconds
        self._url = url
        self._api = VastApi(url, key, pace, call_seconds)

    async def offers(self) -> Sequence[Offer]:
        """Search the market. By default the cheapest at its real price is first. See `Provider.offers`."""
        answer = await self._api.call(self._api.pace.searches, "POST", "/v0/bundles/", body=self._settings.query)
        found = answer.object.get("offers")
        if not succeeded(answer) or not isinstance(found, list):
            raise failure(answer, "cannot be searched")
        read = [offer for one in found if (offer := read_offer(one, self._settings))]
        if self._settings.order is None:
            # What to leave out here; the pool, which knows its models and how long machines live, orders them itself.
            read.sort(key=lambda offer: offer.real_usd_per_hour(_ONE_HOUR))
            read = [replace(offer, by_price=True) for offer in read]
        return list({offer.id: offer for offer in reversed(read)}.values())[::-1][:MOST_OFFERS]

    async def mint(self, order: MintOrder) -> str:
        """Rent the offer's machine; the contract is the ref. See `Provider.mint`."""
        require_own(order, self._owner)
        refuse_unreachable(self._settings, order.url)
        if not is_id(order.offer.id):
            raise OfferGone(f"Vast.ai has no offer {order.offer.id!r}")
        answer = await self._api.call(
            self._api.pace.creations,
            "PUT",
            f"/v0/asks/{order.offer.id}/",
            body=self._creation(order),
            secrets=(order.token, *([self._login.password] if self._login else [])),
        )
        contract = contract_of(answer)
        if contract and succeeded(answer):
            return contract
        if contract:
            await self._give_back(contract, order.label)
        raise failure(answer, "cannot rent a machine")

    async def slay(self, instance: Instance) -> None:
        """Destroy the instance with its disk. See `Provider.slay`."""
        if not is_id(instance.ref):
            return
        answer = await self._api.call(self._api.pace.destructions, "DELETE", f"/v0/instances/{instance.ref}/")
        if not succeeded(answer) and code_of(answer) != _GONE:
            raise failure(answer, "cannot destroy a machine")

    async def list(self) -> Sequence[Instance]:
        """Every instance of the account whose label begins with this owner's, from all pages. See `Provider.list`.

        The market compares whole labels only, so all are asked for.
        """
        disk_gb = self._settings.disk_gb
        shown = [read_instance(answer, one, disk_gb) async for answer, one in self._instances()]
        return [one for one in shown if one and is_own(one.label, self._owner)]

    async def boot_log(self, label: str) -> str:
        """Have the instance's log written, and fetch its end. See `Provider.boot_log`."""
        found = [one for one in await self.list() if one.label == label]
        if not found:
            return ""
        shows, path = self._api.pace.shows, f"/v0/instances/request_logs/{found[0].ref}/"
        answer = await self._api.call(shows, "PUT", path, body={})
        url = answer.object.get("result_url")
        if not succeeded(answer) or not isinstance(url, str):
            raise failure(answer, "shows no log")
        printed = await fetch_log(url, self._url, seconds=self._log_seconds)
        head = f"instance {found[0].ref} at Vast.ai, {found[0].status}"
        return f"{head}\n{printed}"[:BOOT_LOG_CHARACTERS] if printed else head

    async def check(self) -> Sequence[ProviderFinding]:
        """Whether the key may list and search, what the account has left, and whether the image is there.

        See `Provider.check`.
        """
        findings = [] if self._settings.same_machine else [await image_finding(self._settings.image, self._login)]
        for look in (self._may_list, self._may_search):
            try:
                findings.append(ProviderFinding(ok=True, message=await look()))
            except ProviderError as error:
                return [*findings, ProviderFinding(ok=False, message=error.message, hint=error.hint)]
        return findings

    async def aclose(self) -> None:
        """Close connections; instances go on. See `Provider.aclose`."""
        await self._api.aclose()

    async def _may_list(self) -> str:
        machines = await self.list()
        return f"Vast.ai's key is good: {len(machines)} machines of this installation{await self._balance()}"

    async def _may_search(self) -> str:
        found = await self.offers()
        if not found:
            hint = "take conditions out of search, or try it as it is: vastai search offers '…'"
            raise ProviderError("Vast.ai has no machine that fits search now", hint=hint)
        best = found[0]
        price = f"{best.usd_per_hour:.4f} $/h and {best.usd_once:.4f} $ once"
        return f"the key may search: {len(found)} machines fit, the first is {best.description} at {price}"

    async def _balance(self) -> str:
        """What the account has left, where the key may see that."""
        answer = await self._api.call(self._api.pace.shows, "GET", "/v0/users/current/")
        credit = next((answer.object[name] for name in ("credit", "balance") if name in answer.object), None)
        if not succeeded(answer) or isinstance(credit, bool) or not isinstance(credit, Decimal | int):
            return ""
        return f", {credit:.2f} $ of credit"

    async def _instances(self) -> AsyncIterator[tuple[ApiAnswer, object]]:
        """Each instance with the answer that shows it. Raises ProviderError where a page is missing or repeated."""
        tokens: list[str] = []
        while len(tokens) < MOST_PAGES:
            query = {"limit": str(PAGE), **({"after_token": tokens[-1]} if tokens else {})}
            answer = await self._api.call(self._api.pace.lists, "GET", "/v1/instances/", query=query)
            found = answer.object.get("instances")
            if not succeeded(answer) or not isinstance(found, list) or "next_token" not in answer.object:
                raise failure(answer, "cannot list instances")
            for one in found:
                yield answer, one
            if (token := answer.object["next_token"]) is None:
                return
            if not isinstance(token, str) or not token or token in tokens:
                raise failure(answer, "does not say which page of instances is next")
            tokens.append(token)
        raise ProviderError(f"Vast.ai lists more than {MOST_PAGES} pages of instances")

    async def _give_back(self, contract: str, label: str) -> None:
        """Destroy what an error has made nevertheless. A list shows it where that fails, and it is asked again."""
        try:
            await self.slay(Instance(label, contract))
        except ProviderError as error:
            log.warning("not given back", label=label, ref=contract, error=str(error))

    def _creation(self, order: MintOrder) -> Mapping[str, Any]:
        settings = self._settings
        return {
            "image": settings.image,
            "disk": settings.disk_gb,
            "label": order.label,
            # Vast.ai puts a key for this one instance into it, with which it destroys itself.
            "env": {
                **settings.environment,
                **order.environment,
                **slays_itself("vast"),
                # Options of `docker run` are variables too: so a port is mapped.
                **{f"-p {port}:{port}": "1" for port in settings.ports},
            },
            # The image's own entry point with these arguments; an image without one runs them.
            "runtype": "args",
            "args": ["worker"] if settings.bootstrap is None else list(start_command()),
            # Without it a start that fails leaves a stopped instance, whose disk is paid for.
            "cancel_unavail": True,
            **({"image_login": _arguments(self._login, settings.image)} if self._login else {}),
        }


def _arguments(login: RegistryLogin, image: str) -> str:
    """Credentials as Vast.ai takes them: arguments of ``docker login``."""
    return f"-u {login.username} -p {login.password} {RegistryImage.read(image).registry}"
