"""CoinGecko: daily prices of coins in US dollars; needs a key.

Facts (docs.coingecko.com): the granularity follows from ``days``: five minutes for 1, an hour up to 90, a day beyond,
so never fewer than 91 are asked for and an answer of any other granularity is refused. A free key reaches back 365
days. A daily point stamped 00:00 UTC is the close of the day before and settles 35 minutes later; the last point is
"now".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import DatasetSpec, Session, number, utc_from_ms
from aegis_yield.collection.series import Point, nearest_midnight, series_rows
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded, verdict_of_status
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "coingecko"
MIN_DAYS: Final = 91
MAX_DAYS: Final = 365
SETTLED_AFTER: Final = dt.timedelta(minutes=35)
SLACK: Final = dt.timedelta(minutes=5)
"""A daily point may lie so far from its midnight."""

_DAY: Final = dt.timedelta(days=1)


def _check(content: Any) -> None:
    if isinstance(content, dict) and isinstance(content.get("prices"), list):
        return
    code = _error_code(content)
    verdict = verdict_of_status(code) if code is not None else None
    raise SourceError(f"expected a list `prices`, received {str(content)[:120]}", verdict or Verdict.FINAL)


def _error_code(content: Any) -> int | None:
    """Return the code of ``{"status": {"error_code": …}}``, which may lie inside ``error``."""
    for name in ("error", "status", "error_code"):
        content = content.get(name, content) if isinstance(content, dict) else content
    return content if isinstance(content, int) else None


async def _fetch(unit: WorkUnit, session: Session) -> None:
    days = (session.now.date() - session.since).days + 1
    asked: dict[str, str | int] = {
        "vs_currency": "usd",
        "days": min(MAX_DAYS, max(MIN_DAYS, days)),
        "interval": "daily",
    }
    await session.ask(Request("coingecko", f"/api/v3/coins/{unit.demand.entity}/market_chart", asked), _check)


def parse_market_chart(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the closes of days: series ``price:<id>``.

    Raises
    ------
    SourceError
        If the points are not a day apart.
    """
    prices = decoded(page.body)["prices"]
    moments = [utc_from_ms(stamp) for stamp, _ in prices]
    _refuse_other_than_daily(moments[:-1])
    points = [_point(moment, number(price), page) for moment, (_, price) in zip(moments, prices, strict=True)]
    return series_rows(page, f"price:{page.demand.entity}", points)


def _refuse_other_than_daily(moments: Sequence[dt.datetime | None]) -> None:
    for moment in moments:
        if moment is not None and abs(moment - nearest_midnight(moment)) > SLACK:
            raise SourceError(f"expected one point a day at 00:00 UTC, received one at {moment}", Verdict.FINAL)


def _point(moment: dt.datetime | None, price: float | None, page: Page) -> Point:
    if moment is None:
        return Point(None, price)
    close = nearest_midnight(moment)
    if abs(moment - close) > SLACK:  # only the last one: now
        return Point(moment.date(), price, is_settled=False)
    return Point((close - _DAY).date(), price, is_settled=close + SETTLED_AFTER <= page.fetched_at)


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "market_chart", "coingecko", _fetch, parse_market_chart, needs_key=True),
)
"""What this source offers."""
