"""OKX v5: funding of perpetuals, the last three months.

Facts (OKX API v5, second-hand): rows come newest first, all values as text, in an envelope whose ``code`` is "0".
``after`` means *older than* and ``before`` *newer than* a time, that time excluded. Only ``after`` is sent: with
``before`` alone the newest rows come whatever it says, and whether both together narrow the window is not written
down, so rows older than the window come too and are left out. At most 400 rows (100 until 2025), 10 requests in 2 s.
``realizedRate`` is what was paid, ``fundingRate`` the forecast of it. The interval differs by market and changes.
Months older than about three are answered with no rows; they lie as files at okx.com/historical-data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.sources.paging import (
    DAY_MS,
    FUNDING_OVERLAP_MS,
    Endpoint,
    funding_frame,
    objects,
    walk,
)
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "okx"
MAX_FUNDING_ROWS: Final = 400
_FUNDING_PIECE_MS: Final = 16 * DAY_MS
"""384 settlements at one an hour: a page holds them."""

_PASSING_CODES: Final = frozenset({"50001", "50004", "50011", "50013", "50026"})
"""Unavailable for now, time-out, too many requests, busy, system error."""


def _funding_rows(content: Any, instrument: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or "code" not in content:
        raise SourceError(f"expected an object with `code`, received {str(content)[:120]}", Verdict.FINAL)
    code = str(content["code"])
    if code != "0":
        verdict = Verdict.TRANSIENT if code in _PASSING_CODES else Verdict.FINAL
        raise SourceError(f"code {code}: {str(content.get('msg'))[:120]}", verdict)
    return objects(content.get("data"), instId=instrument)


def _funding_request(instrument: str, first_ms: int, last_ms: int) -> Request:  # noqa: ARG001 - see the facts
    params: dict[str, str | int] = {"instId": instrument, "after": last_ms + 1, "limit": MAX_FUNDING_ROWS}
    return Request(SOURCE, "/api/v5/public/funding-rate-history", params)


_FUNDING: Final = Endpoint(
    _funding_request,
    _funding_rows,
    lambda row: row.get("fundingTime"),
    FUNDING_OVERLAP_MS,
    newest_first=True,
    piece_ms=_FUNDING_PIECE_MS,
)


async def _fetch_funding(unit: WorkUnit, session: Session) -> None:
    await walk(_FUNDING, unit, session)


def parse_funding(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read settlements: the rate that was really paid for the interval that ended."""
    rows = _funding_rows(decoded(page.body), page.demand.entity)
    return funding_frame(page, ((row.get("fundingTime"), row.get("realizedRate"), None) for row in rows))


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "funding", SOURCE, _fetch_funding, parse_funding, Cadence.MONTHS, 2.0),
)
"""What this source offers."""
