"""A market beside the calling code."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from infra.market.market import Market
from infra.market.offers import MarketOffer
from infra.market.running import running


def test_it_answers_while_the_block_lasts(tmp_path: Path) -> None:
    with running(Market([MarketOffer(1, 11, 21, 0.2)]), "yurt", tmp_path) as market:
        url, headers = f"{market.api_url}/v1/instances/?limit=25", {"Authorization": f"Bearer {market.key}"}
        assert httpx.get(url, headers=headers, trust_env=False).json() == {"instances": [], "next_token": None}
        assert market.server.wrong == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, headers=headers, trust_env=False)
    assert "market" not in {thread.name for thread in threading.enumerate()}


def test_it_ends_where_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), running(Market([]), "yurt", tmp_path):
        1 / 0  # noqa: B018
    assert "market" not in {thread.name for thread in threading.enumerate()}
