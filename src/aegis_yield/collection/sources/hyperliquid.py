"""Hyperliquid: funding of perpetuals and hourly candles.

Facts (hyperliquid-python-sdk and its recorded answers): everything is a POST to ``/info``; rows come oldest first,
from ``startTime`` to ``endTime`` inclusive. Funding: the first 500 rows; times are some milliseconds late; the
interval was 8 hours until 2023-06-08 and is one hour since, with one gap of 2 hours and one settlement 24 minutes
late. Candles: those that overlap the window, so that the first may open before it; only the last 5,000 (some 208
days) are kept, earlier months have none. 1,200 of weight a minute and IP: 20 a request, and 1 for every 20 rows of
funding or 60 candles. Volume is in the base coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.sources.paging import (
    CANDLE_OVERLAP_MS,
    FUNDING_OVERLAP_MS,
    Endpoint,
    candle_frame,
    funding_frame,
    objects,
    walk,
)
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import decoded

SOURCE: Final = "hyperliquid"
_FUNDING_WEIGHT: Final = 45
"""Of a full page: 20 + 500 / 20."""

_CANDLES_WEIGHT: Final = 33
"""Of a month: 20 + 744 / 60."""


def _funding_rows(content: Any, coin: str) -> list[dict[str, Any]]:
    return objects(content, coin=coin)


def _candle_rows(content: Any, coin: str) -> list[dict[str, Any]]:
    return objects(content, s=coin, i="1h")


def _funding_request(coin: str, first_ms: int, last_ms: int) -> Request:
    body = {"type": "fundingHistory", "coin": coin, "startTime": first_ms, "endTime": last_ms}
    return Request(SOURCE, "/info", body=body, weight=_FUNDING_WEIGHT)


def _candle_request(coin: str, first_ms: int, last_ms: int) -> Request:
    wanted = {"coin": coin, "interval": "1h", "startTime": first_ms, "endTime": last_ms}
    return Request(SOURCE, "/info", body={"type": "candleSnapshot", "req": wanted}, weight=_CANDLES_WEIGHT)


_FUNDING: Final = Endpoint(_funding_request, _funding_rows, lambda row: row.get("time"), FUNDING_OVERLAP_MS)
_CANDLES: Final = Endpoint(_candle_request, _candle_rows, lambda row: row.get("t"), CANDLE_OVERLAP_MS)


async def _fetch_funding(unit: WorkUnit, session: Session) -> None:
    await walk(_FUNDING, unit, session)


async def _fetch_candles(unit: WorkUnit, session: Session) -> None:
    await walk(_CANDLES, unit, session)


def parse_funding(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read settlements: the rate of the interval that ended, at its full hour."""
    rows = _funding_rows(decoded(page.body), page.demand.entity)
    return funding_frame(page, ((row.get("time"), row.get("fundingRate"), None) for row in rows))


def parse_candles(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read hourly candles."""
    rows = _candle_rows(decoded(page.body), page.demand.entity)
    return candle_frame(page, ([row.get(name) for name in ("t", "o", "h", "l", "c", "v")] for row in rows))


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "funding", SOURCE, _fetch_funding, parse_funding, Cadence.MONTHS, 2.0),
    DatasetSpec(SOURCE, "candles", SOURCE, _fetch_candles, parse_candles, Cadence.MONTHS),
)
"""What this source offers."""
