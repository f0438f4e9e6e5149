"""The exec provider against a command that does everything wrong. tests/infra/exec/ runs the contract through it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until
from tests.webhook.fleet.providers.contract import TOKEN, order
from tests.webhook.fleet.providers.local_place import runs
from webhook.fleet.providers import (
    Instance,
    Offer,
    OfferGone,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
    ProviderRefused,
)
from webhook.fleet.providers.exec import ExecProvider
from webhook.provider_settings.exec import ExecSettings

COMMAND = (sys.executable, str(Path(__file__).with_name("exec_command.py")))


class Scene:
    """A command that does one deed, and what it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen_in = folder / "seen"
        self._set = monkeypatch.setenv
        self._set("EXEC_SEEN", str(self.seen_in))

    def provider(self, deed: str = "", **settings: Any) -> ExecProvider:
        self._set("EXEC_DEED", deed)
        given = {"kind": "exec", "command": COMMAND, "rented": False, "inherit": ("EXEC_SEEN", "EXEC_DEED"), **settings}
        return ExecProvider("yurt", "mine", ExecSettings.model_validate(given))

    @property
    def seen(self) -> dict[str, Any]:
        return dict(json.loads(self.seen_in.read_text()))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


async def test_prices_are_read_as_they_are_written(scene: Scene) -> None:
    assert await scene.provider().offers() == [Offer("", Decimal("0.30"), Decimal("0.010"))]


async def test_a_machine_is_minted_with_the_offer_and_the_environment(scene: Scene) -> None:
    wanted = order(offer=Offer("a", Decimal("0.3"), machine="m", host="h"))
    assert await scene.provider(environment={"HF_HUB_OFFLINE": "1"}).mint(wanted) == "7"
    message = scene.seen["message"]
    assert (message["verb"], message["owner"], message["label"]) == ("mint", "yurt", wanted.label)
    assert (message["offer"]["id"], message["offer"]["usd_per_hour"]) == ("a", "0.3")
    ours = {"YURT_URL": wanted.url, "YURT_TOKEN": TOKEN, "YURT_LABEL": wanted.label}
    assert message["environment"] == {"HF_HUB_OFFLINE": "1", **ours}


async def test_the_token_is_on_stdin_alone(scene: Scene) -> None:
    await scene.provider().mint(order())
    assert TOKEN not in json.dumps([scene.seen["argv"], scene.seen["environment"]])


async def test_a_command_inherits_what_is_named_and_no_secret(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YURT_ADMIN_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.setenv(name, "valuable")
    await scene.provider(inherit=("EXEC_SEEN", "AWS_PROFILE")).offers()
    assert [name for name, text in scene.seen["environment"].items() if text == "valuable"] == ["AWS_PROFILE"]


async def test_machines_of_other_owners_are_left_out(scene: Scene) -> None:
    assert await scene.provider().list() == [Instance("yurt-photos-1", "7", usd_per_hour=Decimal("0.1"))]


async def test_slaying_may_print_nothing(scene: Scene) -> None:
    await scene.provider().slay(Instance("yurt-photos-1", "7"))
    assert scene.seen["message"] == {"owner": "yurt", "verb": "slay", "label": "yurt-photos-1", "ref": "7"}


async def test_each_verb_may_have_a_command_of_its_own(scene: Scene) -> None:
    await scene.provider(commands={"offers": [*COMMAND, "--spot", "offers"]}).offers()
    assert scene.seen["argv"][-2:] == ["--spot", "offers"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(1, ProviderError), (69, OfferGone), (75, ProviderBusy), (77, ProviderRefused), (78, ProviderRefused)],
)
async def test_the_exit_status_says_what_kind_of_failure_it_was(
    scene: Scene, status: int, kind: type[ProviderError]
) -> None:
    with pytest.raises(ProviderError) as caught:
        await scene.provider(f"exit:{status}").mint(order())
    assert type(caught.value) is kind
    assert "reason \N{REPLACEMENT CHARACTER}[31m" in caught.value.message


async def test_an_error_shows_neither_the_token_nor_an_inherited_value(scene: Scene) -> None:
    with pytest.raises(ProviderError) as caught:
        await scene.provider("exit:1").mint(order())
    shown = str(caught.value)
    assert TOKEN not in shown
    assert str(scene.seen_in) not in shown
    assert len(shown) < 500


@pytest.mark.parametrize(
    "printed",
    [
        *("", "no", "[]", "{}", '{"offers": [{}]}', '{"offers": [{"usd_per_hour": -1}]}', "[" * 50_000),
        '{"offers": [{"usd_per_hour": NaN}]}',
        '{"offers": [{"usd_per_hour": 1, "gpu": "A100"}]}',
        '{"offers": [{"usd_per_hour": 1, "id": 5}]}',
    ],
)
async def test_a_wrong_answer_is_an_error_that_says_where(scene: Scene, printed: str) -> None:
    with pytest.raises(ProviderError, match="printed a wrong answer: ") as caught:
        await scene.provider(f"print:{printed}").offers()
    assert "OffersAnswer in docs/exec.schema.json" in caught.value.hint


async def test_an_answer_with_too_many_offers_is_refused(scene: Scene) -> None:
    offers = json.dumps({"offers": [{"usd_per_hour": 1}] * 101})
    with pytest.raises(ProviderError, match="offers: List should have at most 100 items"):
        await scene.provider(f"print:{offers}").offers()


async def test_a_command_that_knows_no_optional_verb_can_be_used(scene: Scene) -> None:
    provider = scene.provider("basic")
    assert await provider.boot_log("yurt-photos-1") == ""
    told = "its commands answer: 1 offers, 2 machines"
    assert await provider.check() == [ProviderFinding(ok=True, message=told.replace("2", "1"))]


async def test_logs_and_findings_are_cleaned(scene: Scene) -> None:
    provider = scene.provider()
    assert (await provider.boot_log("yurt-photos-1")).endswith(":\nout of memory\N{REPLACEMENT CHARACTER}[0m")
    assert (await provider.check())[0] == ProviderFinding(ok=False, message="no quota", hint="ask for some")


async def test_a_variable_that_is_not_set_is_found(scene: Scene) -> None:
    [first, *_] = await scene.provider(inherit=("EXEC_SEEN", "NOT_SET_ANYWHERE")).check()
    assert (first.ok, first.message) == (False, "NOT_SET_ANYWHERE is not set")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://yurt.example.com"])
async def test_a_rented_machine_is_not_minted_where_it_could_not_call_home(scene: Scene, url: str) -> None:
    with pytest.raises(ProviderRefused, match=f"cannot reach the control plane at {url}") as caught:
        await scene.provider(rented=True).mint(replace(order(), url=url))
    assert "server.public_url" in caught.value.hint
    assert not scene.seen_in.exists()


async def test_a_cancelled_call_leaves_no_process(scene: Scene) -> None:
    call = asyncio.create_task(scene.provider("hang").offers())
    child = int(await until(lambda: scene.seen_in.with_suffix(".child").exists() and read(scene)))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: not runs(child))


def read(scene: Scene) -> str:
    return scene.seen_in.with_suffix(".child").read_text()


def test_the_settings_say_what_is_missing_and_what_may_not_be_inherited() -> None:
    for wrong, reason in (
        ({"commands": {"list": ["a"]}}, "set command, or commands.offers"),
        ({"command": ["a"], "inherit": ["YURT_ADMIN_TOKEN"]}, "YURT_ADMIN_TOKEN is the control plane's own"),
        ({"command": ["a"], "inherit": ["A B"]}, "'A B' is no name of a variable"),
        ({"command": [""]}, "has to be a program and its arguments"),
        ({"command": ["a"], "timeout_seconds": 0}, "greater than 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(reason)):
            ExecSettings.model_validate({"kind": "exec", **wrong})
