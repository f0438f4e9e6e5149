"""Says from a status why nothing moves, and what to do about it (``yurt doctor``, and lines of ``yurt status``).

Takes the answer of ``GET /v1/status`` as it came, so that it also reads that of another version: what is missing there
is no problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webhook.fleet.strangers import ADVICE

_WAITING_SECONDS = 60.0
"""An object that is due for so long waits for something that does not come."""
_STARTING = ("intended", "booting")
_WORKING = ("ready", "draining")

_REFUSED_ADVICE = {
    "unauthorized": "The store has another secret than the control plane's YURT_WEBHOOK_SECRETS. On Tigris "
    "`yurt setup --yes` gives it ours; elsewhere set it with the store's tools.",
    "unknown-source": "The store posts to a path that names no source: the URL ends in /v1/notifications/ and one of "
    "the sources of docs/sources.md.",
    "too-large": "Raise server.body_limit_bytes, or have the store send smaller batches.",
    "untrusted-topic": "Add the topic's ARN to server.sns_topics, if it is yours.",
    "bad-signature": "What arrives is not what Amazon SNS signed: does a proxy change the body?",
}
_OTHERWISE = "The log of the control plane has a line a minute about it; docs/protocol.md explains the code."


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why something does not go on."""

    subject: str
    """Short: which part."""
    sentence: str
    """What was seen."""
    advice: str
    """What to do next."""
    detail: str = ""
    """Several lines to look at, such as the end of a log."""
    warning: bool = False
    """Whether work goes on all the same."""


def diagnose(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """Find what keeps work from being done, the likeliest cause first."""
    for find in _FINDERS:
        yield from find(status)


def _refused_notifications(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for source, sender in status.get("senders", {}).items():
        refused, taken = sender["refused_seconds"], sender["taken_seconds"]
        if refused is not None and (taken is None or refused < taken):
            yield Diagnosis(
                f"notifications of source {source}",
                f"are refused: {sender['refused']} so far, the last {refused:,.0f} s ago: {sender['message']}",
                _REFUSED_ADVICE.get(sender["error"], _OTHERWISE),
            )


def _failing_loops(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for failing in status.get("failing_loops", ()):
        yield Diagnosis(
            "control plane",
            f"its loop for {failing['loop']} fails since {failing['seconds']:,.0f} s: {failing['error']}",
            "It tries again by itself once that is mended: the database, or the disk and the limits of its machine.",
        )


def _refused_pipelines(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, pipeline in status["pipelines"].items():
        if pipeline["refused"]:
            yield Diagnosis(f"pipeline {name}", f"no work is handed out: {pipeline['refused']}", "See yurt check.")


def _unavailable_handlers(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, pipeline in status["pipelines"].items():
        if pause := pipeline.get("unavailable"):
            where = f"{pause['workers']} of {pause['of']} workers"
            what = "is paused: its handler can run on none of" if pause["everywhere"] else "cannot be handled by"
            yield Diagnosis(
                f"pipeline {name}",
                f"{what} {where}: {pause['message']}",
                f"Mend the handler. It is tried again in {pause['retry_seconds']:,.0f} s, or once its files change.",
            )


def _minting(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, pool in status["pools"].items():
        if pool["breaker"] != "closed":
            what = "nothing is minted" if pool["breaker"] == "open" else "one machine is tried"
            log = pool.get("last_boot_log", "")
            yield Diagnosis(
                f"pool {name}",
                f"{what} after failed starts. The last: {pool['last_failure'] or 'unknown'}",
                "The end of its log follows."
                if log
                else "See the provider's own logs. Can a machine of its reach server.public_url?",
                log,
            )
        if pool["frozen"]:
            errors = {provider["last_error"] for provider in status["providers"].values()} - {""}
            yield Diagnosis(
                f"pool {name}",
                "frozen: its provider's list of machines fails or cannot be true" + "".join(f"; {e}" for e in errors),
                "Mend the provider's access. Until then nothing is minted, and no machine is taken for gone.",
            )


def _strangers(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, provider in status["providers"].items():
        if machines := provider.get("strangers"):
            label = provider["stranger"]
            yield Diagnosis(
                f"provider {name}",
                f'another installation named "{label.partition("-")[0]}" rents {machines} machines there, {label} for '
                "one: nothing is minted there",
                ADVICE,
            )


_NOT_MINTED_ADVICE = (
    ("another installation", "See what is said of the provider."),
    (
        "budget",
        "Raise budget_usd_per_day of the pool, or of [server], or wait until midnight UTC. "
        "`yurt costs` shows what it was spent on.",
    ),
    ("dearer", "Raise max_usd_per_hour, or add another provider: `yurt offers {pool}` shows the prices."),
    ("did not boot", "These machines are avoided for a day. Add another provider, or widen the search."),
    (
        "makes no offer",
        "Mend the provider's key or settings: `yurt check` tries them, `yurt offers {pool}` asks again.",
    ),
    ("did not start there", "See why with `yurt machines list`, and their logs with `yurt machines logs`."),
    ("list of machines", "Mend the provider's access: `yurt check` tries it."),
    ("no room", "Wait, widen the provider's search, or add another provider: `yurt offers {pool}` asks it."),
    ("asked again", "It is asked again by itself, and the pool's other providers meanwhile."),
    ("busy", "It is asked again by itself."),
)
"""Advice by what the reason holds, the one that helps most first: a reason names all providers of the pool."""


def _not_minted(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, pool in status["pools"].items():
        if why := pool.get("not_minted"):
            advice = next((text for word, text in _NOT_MINTED_ADVICE if word in why), "`yurt offers {pool}` asks it.")
            yield Diagnosis(f"pool {name}", f"nothing is minted: {why}{_spent(pool)}", advice.format(pool=name))


def _spent(pool: Mapping[str, Any]) -> str:
    budget = pool.get("budget_usd_per_day")
    return f" ({pool['spent_today_usd']} of {budget} US dollars spent today)" if budget is not None else ""


def _nothing_leased(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """Objects that are due, of which none is leased."""
    for name, pipeline in status["pipelines"].items():
        objects = pipeline["objects"]
        seconds = pipeline["oldest_due_seconds"]
        pool = status["pools"].get(pipeline.get("pool", ""))
        idle = objects.get("pending") and not objects.get("leased") and not pipeline.get("unavailable")
        if seconds > _WAITING_SECONDS and idle and pool and not pipeline["refused"]:
            yield Diagnosis(
                f"pipeline {name}",
                f"{objects['pending']} wait, the oldest for {seconds:,.0f} s, and none is leased",
                _why_no_lease(pipeline["pool"], pool),
            )


def _why_no_lease(name: str, pool: Mapping[str, Any]) -> str:
    machines = pool["machines"]
    if any(machines.get(state) for state in _WORKING):
        return f"Pool {name} has workers that take nothing: see their logs. Do they reach the store?"
    if any(machines.get(state) for state in _STARTING):
        return f"Machines of pool {name} start, but have not called home: can they reach server.public_url?"
    if pool.get("not_minted"):
        return f"Nothing is minted for pool {name}: see above."
    if pool["limit"] == 0:
        return f"pools.{name}.limit is 0: raise it."
    if not pool.get("minted_by", True):
        return (
            f"Pool {name} mints nothing, and no worker of yours is connected: start one with what `yurt invite` prints."
        )
    return "Does one replica lead? `yurt status` and the log of the control plane tell what its loops meet."


def _pending_reviews(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """What waits for a person, and delays nothing else."""
    parked = {name: p["objects"].get("parked", 0) for name, p in status["pipelines"].items()}
    if any(parked.values()):
        counted = ", ".join(f"{number} of {name}" for name, number in parked.items() if number)
        yield Diagnosis(
            "parked objects", counted, "`yurt parked list` tells why, `yurt parked redrive` tries them again."
        )
    if status["quarantined"]:
        yield Diagnosis(
            "quarantine", f"{status['quarantined']} events could not be read",
            "See them with `yurt quarantine list`.",
        )  # fmt: skip


def _unjailed(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for name, pool in status["pools"].items():
        if unjailed := pool.get("unjailed"):
            yield Diagnosis(
                f"pool {name}",
                f"{unjailed['workers']} of its workers run handlers without a jail: {unjailed['why']}",
                "A file that takes over a decoder reaches what the worker's user reaches. docs/sandbox.md says what a "
                'jail needs. sandbox.mode = "require" keeps a pipeline off such workers, "off" ends this warning.',
                warning=True,
            )


def _suspects(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    for suspect in status.get("suspects", ()):
        if suspect["reason"] != "distrusted":
            yield Diagnosis(
                f"worker {suspect['worker']}",
                f"{suspect['label']} of pool {suspect['pool']} is {suspect['state']}: {suspect['why']}",
                "See its log. If what it did do well is in doubt too, "
                f"`yurt distrust {suspect['worker']}` has all of it processed again.",
            )


def _unaccounted(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    wrong = {unit: number for unit, number in status["unaccounted"].items() if number}
    if wrong:
        yield Diagnosis("counts", f"unaccounted for: {wrong}", "This is a bug in Yurt: please report it.")


_FINDERS: tuple[Callable[[Mapping[str, Any]], Iterator[Diagnosis]], ...] = (
    _failing_loops,
    _refused_notifications,
    _refused_pipelines,
    _unavailable_handlers,
    _minting,
    _strangers,
    _not_minted,
    _nothing_leased,
    _pending_reviews,
    _suspects,
    _unjailed,
    _unaccounted,
)
