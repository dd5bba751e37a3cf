"""Bybit v5: funding of linear perpetuals and hourly candles.

Facts (bybit-exchange/docs, v5): rows come newest first, all values as text, in an envelope whose ``retCode`` is 0;
from ``startTime`` to ``endTime`` inclusive, the last ``limit`` of them. Funding: at most 200 rows, and ``startTime``
alone is an error; the interval differs by symbol and changes. Candles: at most 1,000 (``start``, ``end``). 600
requests in 5 s and IP; beyond that a 403 "access too frequent", to be left alone for 10 minutes. Volume is in the
base coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.sources.paging import (
    CANDLE_OVERLAP_MS,
    DAY_MS,
    FUNDING_OVERLAP_MS,
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

SOURCE: Final = "bybit"
MAX_FUNDING_ROWS: Final = 200
MAX_CANDLES: Final = 1000
_FUNDING_PIECE_MS: Final = 8 * DAY_MS
"""192 settlements at one an hour: a page holds them."""

_VERDICTS: Final = {
    10000: Verdict.TRANSIENT,  # time-out
    10006: Verdict.TRANSIENT,  # too many visits
    10009: Verdict.BANNED,  # this IP is banned
    10016: Verdict.TRANSIENT,  # internal error
    10018: Verdict.TRANSIENT,  # too many visits from this IP
}
"""Of a ``retCode``; all others are final."""


def _result(content: Any, symbol: str) -> dict[str, Any]:
    if not isinstance(content, dict) or "retCode" not in content:
        raise SourceError(f"expected an object with `retCode`, received {str(content)[:120]}", Verdict.FINAL)
    code = whole(content["retCode"])
    if code != 0:
        verdict = _VERDICTS.get(-1 if code is None else code, Verdict.FINAL)
        raise SourceError(f"retCode {content['retCode']}: {str(content.get('retMsg'))[:120]}", verdict)
    return objects([content.get("result")], symbol=symbol)[0]


def _funding_rows(content: Any, symbol: str) -> list[dict[str, Any]]:
    return objects(_result(content, symbol).get("list"), symbol=symbol)


def _candle_rows(content: Any, symbol: str) -> list[list[Any]]:
    return candle_lists(_result(content, symbol).get("list"))


def _funding_request(symbol: str, first_ms: int, last_ms: int) -> Request:
    window = {"startTime": first_ms, "endTime": last_ms, "limit": MAX_FUNDING_ROWS}
    return Request(SOURCE, "/v5/market/funding/history", {"category": "linear", "symbol": symbol, **window})


def _candle_request(symbol: str, first_ms: int, last_ms: int) -> Request:
    window: dict[str, str | int] = {"interval": "60", "start": first_ms, "end": last_ms, "limit": MAX_CANDLES}
    return Request(SOURCE, "/v5/market/kline", {"category": "linear", "symbol": symbol, **window})


_FUNDING: Final = Endpoint(
    _funding_request,
    _funding_rows,
    lambda row: row.get("fundingRateTimestamp"),
    FUNDING_OVERLAP_MS,
    newest_first=True,
    piece_ms=_FUNDING_PIECE_MS,
)
_CANDLES: Final = Endpoint(_candle_request, _candle_rows, lambda row: row[0], CANDLE_OVERLAP_MS, newest_first=True)


async def _fetch_funding(unit: WorkUnit, session: Session) -> None:
    await walk(_FUNDING, unit, session)


async def _fetch_candles(unit: WorkUnit, session: Session) -> None:
    await walk(_CANDLES, unit, session)


def parse_funding(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read settlements: the rate of the interval that ended."""
    rows = _funding_rows(decoded(page.body), page.demand.entity)
    return funding_frame(page, ((row.get("fundingRateTimestamp"), row.get("fundingRate"), None) for row in rows))


def parse_candles(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read hourly candles."""
    return candle_frame(page, _candle_rows(decoded(page.body), page.demand.entity))


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "funding", SOURCE, _fetch_funding, parse_funding, Cadence.MONTHS, 4.0),
    DatasetSpec(SOURCE, "candles", SOURCE, _fetch_candles, parse_candles, Cadence.MONTHS),
)
"""What this source offers."""
