"""Notices machines of another installation of the same name at a provider, so that neither slays the other's.

A label without a row is an unknown machine, and is slain. Two installations that share a provider's account and
``server.name`` would slay each other's. So each label holds the id of the ledger that it was written to
(`webhook.ledger.machines.installation_of`): one of another id is a *stranger*. A stranger is left alone, and nothing is
minted beside it. It is slain if an operator says so: it may be a machine of this installation's own ledger before that
was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import Instance
from webhook.ledger.machines import Stranger, installation_of

log = structlog.get_logger()

MOST_NOTED = 1_000
"""Strangers of one provider that are written to the ledger."""
CONTESTED = "another installation of the same name rents machines there"
"""Why nothing is minted at a provider."""
ADVICE = (
    "Give one of the two installations another server.name. If its ledger was lost and these machines are this "
    "installation's own, `yurt machines list` shows them and `yurt machines slay LABEL` has them slain."
)


class Strangers:
    """What one provider lists of other installations of the same name."""

    def __init__(self, calls: ProviderCalls) -> None:
        self._calls = calls
        self._seen: frozenset[str] | None = None
        """Labels that were noted last; None: what an earlier process noted."""

    async def unknown_to_slay(self, unknown: Sequence[Instance]) -> Sequence[Instance]:
        """Note the strangers among listed machines without a row; return those of ``unknown`` that are to be slain.

        These are this installation's own, and strangers of which an operator says so.
        """
        if not unknown and self._seen == frozenset():
            return ()  # as at nearly every turn, so the ledger is not asked
        own_id = await self._calls.within(self._calls.fleet.installation())
        strangers = {one.label: one for one in unknown if installation_of(one.label) not in ("", own_id)}
        wanted = await self._note(strangers.values())
        return [one for one in unknown if one.label not in strangers or one.label in wanted]

    async def _note(self, strangers: Collection[Instance]) -> Collection[str]:
        labels = frozenset(one.label for one in strangers)
        self._calls.contested = bool(labels)
        noted = [Stranger(one.label, one.ref) for one in strangers][:MOST_NOTED]
        wanted = await self._calls.within(self._calls.fleet.note_strangers(self._calls.name, noted))
        if new := labels - (self._seen or frozenset()):
            _warn(self._calls.name, new, len(labels))
        self._seen = labels
        return wanted


def _warn(provider: str, new: Collection[str], machines: int) -> None:
    log.error("another installation", provider=provider, machines=machines, label=min(new), hint=ADVICE)
