"""Calls Vast.ai's API: paced as it asks for, and its errors told apart by their codes.

Vast.ai answers with codes of its own where others use the status of HTTP: a bad key is a 404.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from webhook.fleet.providers import OfferGone, ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.http_api import ApiAnswer, JsonApi
from webhook.fleet.providers.spacing import Spacing

NAME = "Vast.ai"
KEY_HINT = (
    "set VAST_API_KEY to a key that may read and write instances and search offers: console.vast.ai, Account, API keys"
)
PRETEND_SCALE = 0.1
"""Of the time between two calls, where the market is a pretend one on this machine: its customer need not wait."""
_DAY_SECONDS = 86_400.0
_SHORTEST_HOLD_SECONDS = 60.0
_EPOCH = 1_000_000_000
"""A reset from here on is a moment, below it a number of seconds."""
_BAD_KEY = "auth_error"
_NO_OFFER = "no_such_ask"
_QUOTA = "search_quota_exceeded"
_is_number = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?").fullmatch


class VastPace:
    """Keeps the calls of one key apart: shared by all providers of a process that use it.

    The seconds are what Vast.ai's own client was found to keep between two calls of a kind.

    Args:
        scale: Of all of them. For tests.

    """

    def __init__(self, scale: float = 1.0) -> None:
        self.searches, self.creations, self.destructions, self.lists, self.shows = (
            Spacing(NAME, scale * seconds) for seconds in (6.0, 4.5, 3.0, 1.0, 2.0)
        )


class VastApi:
    """One account.

    Args:
        url: Base of the API, without a version.
        key: ``VAST_API_KEY``.
        pace: Of the key.
        call_seconds: Deadline of one call.

    """

    def __init__(self, url: str, key: str, pace: VastPace, call_seconds: float) -> None:
        self.pace = pace
        self._api = JsonApi(NAME, url, key, key_hint=KEY_HINT, seconds=call_seconds)

    async def call(
        self,
        spacing: Spacing,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
    ) -> ApiAnswer:
        """Wait for the turn, call, and return the answer. An answer that asks for fewer calls is obeyed by the next.

        Raises ProviderError: there was no answer. NotSent: it is not this call's turn for long.
        """
        await spacing.wait()
        answer = await self._api.call(method, path, body=body, query=query, secrets=secrets)
        if answer.status == 429:
            busy = failure(answer, "asks for fewer calls")
            assert isinstance(busy, ProviderBusy), "that is what a 429 stands for"
            spacing.hold(busy.retry_seconds, busy.message)
        return answer

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._api.aclose()


def code_of(answer: ApiAnswer) -> str:
    """The code of an error. Empty: the answer has none."""
    code = answer.object.get("error")
    return code if isinstance(code, str) else ""


def succeeded(answer: ApiAnswer) -> bool:
    """Whether an answer says that the call succeeded: an error may come with a status of success."""
    return answer.ok and answer.object.get("success") is not False


def failure(answer: ApiAnswer, doing: str) -> ProviderError:
    """The error that an answer stands for.

    Args:
        answer: Any that does not say what it should.
        doing: What was asked for, as in "cannot rent a machine".

    """
    code = code_of(answer)
    if code == _BAD_KEY:  # of status 404
        return ProviderRefused(f"{NAME} {doing}: the key is not good: {answer.text}", hint=KEY_HINT)
    if code == _NO_OFFER:
        return OfferGone(f"{NAME} {doing}: the offer is gone: {answer.text}")
    if code == _QUOTA:
        message = f"{NAME} {doing}: the day's searches are used up: {answer.text}"
        return ProviderBusy(message, retry_seconds=seconds_until_reset(answer.headers, datetime.now(UTC)))
    if answer.ok and answer.object.get("success") is False:
        return ProviderError(f"{NAME} {doing}: {answer.text}")
    return answer.error(doing)


def seconds_until_reset(headers: Mapping[str, str], now: datetime) -> float:
    """How long a daily quota is used up: as the answer says, or until midnight UTC.

    A minute at least, a day at most.
    """
    said = headers.get("x-ratelimit-reset", "")
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    seconds = float(said) if _is_number(said) else (midnight - now).total_seconds()
    if seconds >= _EPOCH:
        seconds -= now.timestamp()
    return min(max(seconds, _SHORTEST_HOLD_SECONDS), _DAY_SECONDS)
