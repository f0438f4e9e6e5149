"""Writes amounts of US dollars exactly, as decimal text that is never rounded and has no exponent."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema


def exact(usd: Decimal) -> str:
    """Write an amount with all its digits, and none that say nothing: ``0.0125``, ``12``."""
    text = format(usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


ExactUsd = Annotated[Decimal, PlainSerializer(exact, return_type=str), WithJsonSchema({"type": "string"})]
"""An amount in US dollars, in JSON a text: a number would be read as binary floating point."""
