"""What every kind of provider accepts in its settings."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from webhook.provider_settings.base import Environment, Image, Usd

ENVIRONMENT: TypeAdapter[dict[str, str]] = TypeAdapter(Environment)
IMAGE: TypeAdapter[str] = TypeAdapter(Image)
USD: TypeAdapter[Decimal] = TypeAdapter(Usd)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"YURT_TOKEN": "x"}, "YURT_TOKEN is set by Yurt"),
        ({"VAST_API_KEY": "x"}, "VAST_API_KEY looks like a secret"),
        ({"db_password": "x"}, "db_password looks like a secret"),
        ({"HF_TOKEN": "x"}, "HF_TOKEN looks like a secret"),
        ({"A B": "x"}, "'A B' is no name of a variable"),
        ({"A": "x\0"}, "A has to be a text"),
        ({"A": "x" * 4_001}, "A has to be a text"),
    ],
)
def test_a_machine_is_given_no_secret_and_nothing_of_yurts_own(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ENVIRONMENT.validate_python(variables)


def test_other_variables_are_given() -> None:
    given = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "AUTHOR": "x", "YURT_ALLOW_HTTP": "1"}
    assert ENVIRONMENT.validate_python(given) == given


@pytest.mark.parametrize("image", ["yurt", "localhost:5000/you/yurt:0.2", f"ghcr.io/you/yurt@sha256:{'a' * 64}"])
def test_an_image_is_named_as_registries_name_it(image: str) -> None:
    assert IMAGE.validate_python(image) == image


@pytest.mark.parametrize("image", ["", "-v", "--privileged", "a b", "Yurt:1", "yurt:1;id", "x" * 501])
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ValidationError):
        IMAGE.validate_python(image)


@pytest.mark.parametrize("amount", [-1, "NaN", "Infinity", 100_001, "0.0000001"])
def test_a_price_is_a_price(amount: object) -> None:
    with pytest.raises(ValidationError):
        USD.validate_python(amount)


def test_a_price_is_kept_exactly() -> None:
    assert USD.validate_python(0.1) == Decimal("0.1")
