"""Binance USDⓈ-M futures: funding of perpetuals and hourly candles.

Facts (binance-connector-python; developers.binance.com): rows come oldest first, from ``startTime`` to ``endTime``
inclusive, the first ``limit`` of them. Funding: at most 1,000 rows, 500 requests in 5 minutes and IP (shared with
``fundingInfo``); the interval differs by symbol and changes; ``markPrice`` is empty on old rows. Candles: the weight
of a request grows with its ``limit``, 2,400 of it a minute and IP. 429 asks to slow down (``Retry-After``), 418 is a
ban of 2 minutes to 3 days, 403 the firewall, 451 a region that is not served. Volume is in the base coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.sources.paging import (
    CANDLE_OVERLAP_MS,
    FULL_PAGE_ROWS,
    FUNDING_OVERLAP_MS,
    HOUR_MS,
    Endpoint,
    candle_frame,
    candle_lists,
    funding_frame,
    objects,
    walk,
    whole,
)
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "binance"
MAX_FUNDING_ROWS: Final = 1000
MAX_CANDLES: Final = 1000
_PASSING_CODES: Final = frozenset({-1001, -1003, -1007, -1008})
"""Disconnected, too many requests, time-out, overloaded."""


def _refuse_error(content: Any) -> None:
    if isinstance(content, dict) and "code" in content:
        verdict = Verdict.TRANSIENT if whole(content["code"]) in _PASSING_CODES else Verdict.FINAL
        raise SourceError(f"code {content['code']}: {str(content.get('msg'))[:120]}", verdict)


def _funding_rows(content: Any, symbol: str) -> list[dict[str, Any]]:
    _refuse_error(content)
    return objects(content, symbol=symbol)


def _candle_rows(content: Any, symbol: str) -> list[list[Any]]:  # noqa: ARG001 - candles do not say whose they are
    _refuse_error(content)
    return candle_lists(content)


def _funding_request(symbol: str, first_ms: int, last_ms: int) -> Request:
    window = {"startTime": first_ms, "endTime": last_ms, "limit": MAX_FUNDING_ROWS}
    return Request(SOURCE, "/fapi/v1/fundingRate", {"symbol": symbol, **window})


def _candle_request(symbol: str, first_ms: int, last_ms: int) -> Request:
    limit = min(MAX_CANDLES, max(FULL_PAGE_ROWS, (last_ms - first_ms) // HOUR_MS + 1))
    window = {"startTime": first_ms, "endTime": last_ms, "limit": limit}
    params: dict[str, str | int] = {"symbol": symbol, "interval": "1h", **window}
    return Request(SOURCE, "/fapi/v1/klines", params)


_FUNDING: Final = Endpoint(_funding_request, _funding_rows, lambda row: row.get("fundingTime"), FUNDING_OVERLAP_MS)
_CANDLES: Final = Endpoint(_candle_request, _candle_rows, lambda row: row[0], CANDLE_OVERLAP_MS)


async def _fetch_funding(unit: WorkUnit, session: Session) -> None:
    await walk(_FUNDING, unit, session)


async def _fetch_candles(unit: WorkUnit, session: Session) -> None:
    await walk(_CANDLES, unit, session)


def parse_funding(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read settlements: the rate of the interval that ended, and the mark price where it is given."""
    rows = _funding_rows(decoded(page.body), page.demand.entity)
    return funding_frame(page, ((row.get("fundingTime"), row.get("fundingRate"), row.get("markPrice")) for row in rows))


def parse_candles(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read hourly candles."""
    return candle_frame(page, _candle_rows(decoded(page.body), page.demand.entity))


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "funding", SOURCE, _fetch_funding, parse_funding, Cadence.MONTHS),
    DatasetSpec(SOURCE, "candles", SOURCE, _fetch_candles, parse_candles, Cadence.MONTHS),
)
"""What this source offers."""
