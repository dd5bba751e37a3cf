"""DefiLlama's TVL of protocols and chains, supply of stablecoins, prices of coins, all in US dollars.

Facts (DefiLlama/defillama-server, peggedassets-server, api-docs):

- TVL and stablecoins: a point stamped midnight was taken as its day began. A protocol's chart ends with the newest
  hourly point under its own time, which may share a day with the midnight one. A chain's chart may end tomorrow
  (defillama-server #9655). Dates are UNIX seconds, of stablecoins as text.
- Prices: a point lies near the moment asked for, not at it; a coin that is unknown or stale is absent from an answer
  that is otherwise good; below a confidence of 0.5 the source itself does not use a price.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session, number, utc_from_s
from aegis_yield.collection.series import Point, midnight, nearest_midnight, series_rows
from aegis_yield.collection.sources.defillama import SOURCE, STALE_COPY
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

MIN_CONFIDENCE: Final = 0.5
MAX_MIDNIGHT_OFFSET: Final = dt.timedelta(hours=4)
"""A price further from its midnight says nothing of the day's end."""

PRICE_SETTLED_AFTER: Final = dt.timedelta(hours=1)
"""Until then a point nearer to the midnight may still be recorded."""

OVERLAP: Final = dt.timedelta(days=3)
"""An open month goes on so far before where it stopped: what was provisional then is asked for again."""

_DAY: Final = dt.timedelta(days=1)


# TVL and stablecoins: charts read whole


async def _fetch_protocol_tvl(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("defillama_api", f"/protocol/{_quoted(unit)}"), _check_protocol)


async def _fetch_chain_tvl(unit: WorkUnit, session: Session) -> None:
    path = "/v2/historicalChainTvl"
    await session.ask(
        Request("defillama_api", path if unit.demand.entity == "*" else f"{path}/{_quoted(unit)}"), _check_list
    )


async def _fetch_stablecoins(unit: WorkUnit, session: Session) -> None:  # noqa: ARG001 - every fetch has this form
    await session.ask(Request("defillama_stablecoins", "/stablecoincharts/all"), _check_list)


def parse_protocol_tvl(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read a protocol's TVL: series ``protocol_tvl:<slug>``."""
    items = decoded(page.body)["tvl"]
    values = ((item.get("date"), number(item.get("totalLiquidityUSD"))) for item in items)
    return series_rows(page, f"protocol_tvl:{page.demand.entity}", _days(values, page.fetched_at))


def parse_chain_tvl(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the TVL of a chain, or of all: series ``chain_tvl:<chain>``."""
    values = ((item.get("date"), number(item.get("tvl"))) for item in decoded(page.body))
    return series_rows(page, f"chain_tvl:{page.demand.entity}", _days(values, page.fetched_at))


def parse_stablecoins(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read what all stablecoins in circulation are worth: series ``stablecoins:*``."""
    values = ((item.get("date"), _over_pegs(item.get("totalCirculatingUSD"))) for item in decoded(page.body))
    return series_rows(page, f"stablecoins:{page.demand.entity}", _days(values, page.fetched_at))


def _over_pegs(amounts: Any) -> float | None:
    """Add up what is given per peg; a number stands where nothing circulates."""
    if not isinstance(amounts, dict):
        return number(amounts)
    known = [amount for amount in map(number, amounts.values()) if amount is not None]
    return sum(known) if known else None


def _days(values: Iterable[tuple[Any, float | None]], fetched_at: dt.datetime) -> list[Point]:
    """Return points by UTC day; of two of one day the one stamped midnight holds.

    The last day can be a provisional one of a copy that is a day old, so it settles only once no copy can be.
    """
    stamped = [(utc_from_s(stamp), value) for stamp, value in values]
    # Midnight last: of several rows of a day the history keeps the later one.
    stamped.sort(key=lambda row: (row[0] is not None and row[0] == midnight(row[0].date()), row[0] or fetched_at))
    last_day = max((moment.date() for moment, _ in stamped if moment is not None), default=fetched_at.date())
    points = []
    for moment, value in stamped:
        day = None if moment is None else moment.date()
        is_old = day is not None and midnight(day) + _DAY + STALE_COPY <= fetched_at
        is_midnight = moment is not None and day is not None and moment == midnight(day)
        points.append(Point(day, value, day != last_day or (is_midnight and is_old)))
    return points


# Prices: asked for by month


async def _fetch_price(unit: WorkUnit, session: Session) -> None:
    first = max(unit.start, session.since) + _DAY  # the midnights at which days end
    if session.cursor:
        first = max(first, dt.date.fromisoformat(session.cursor) - OVERLAP)
    last = min(unit.end, session.now.date())
    if first > last:
        return
    asked: dict[str, str | int] = {
        "start": int(midnight(first).timestamp()),
        "span": (last - first).days + 1,
        "period": "1d",
    }
    await session.ask(Request("defillama_coins", f"/chart/{_quoted(unit)}", asked), _check_coins)
    session.checkpoint(last.isoformat())


def parse_price(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the prices at the ends of days: series ``price:<coin>``, dated the day that ended."""
    coins = decoded(page.body)["coins"]
    wanted = page.demand.entity.lower()
    coin: Mapping[str, Any] = next((coin for name, coin in coins.items() if name.lower() == wanted), {})
    confidence = number(coin.get("confidence"))
    is_trusted = confidence is None or confidence >= MIN_CONFIDENCE
    found = [(utc_from_s(item.get("timestamp")), item) for item in coin.get("prices", ()) if is_trusted]
    # Nearest last: of several rows of a day the history keeps the later one.
    found.sort(key=lambda row: dt.timedelta() if row[0] is None else -abs(row[0] - nearest_midnight(row[0])))
    points = [_price(moment, number(item.get("price")), page.fetched_at) for moment, item in found]
    return series_rows(page, f"price:{page.demand.entity}", filter(None, points))


def _price(moment: dt.datetime | None, price: float | None, fetched_at: dt.datetime) -> Point | None:
    if moment is None:
        return Point(None, price)
    end = nearest_midnight(moment)
    if abs(moment - end) > MAX_MIDNIGHT_OFFSET:
        return None
    return Point((end - _DAY).date(), price, is_settled=end + PRICE_SETTLED_AFTER <= fetched_at)


def _quoted(unit: WorkUnit) -> str:
    return quote(unit.demand.entity, safe=":,")


def _check_list(content: Any) -> None:
    if not isinstance(content, list):
        raise SourceError(f"expected a list, received {str(content)[:120]}", Verdict.FINAL)


def _check_protocol(content: Any) -> None:
    if not isinstance(content, dict) or not isinstance(content.get("tvl"), list):
        raise SourceError(f"expected an object with a list `tvl`, received {str(content)[:120]}", Verdict.FINAL)


def _check_coins(content: Any) -> None:
    if not isinstance(content, dict) or not isinstance(content.get("coins"), dict):
        raise SourceError(f"expected an object `coins`, received {str(content)[:120]}", Verdict.FINAL)


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "protocol_tvl", "defillama_api", _fetch_protocol_tvl, parse_protocol_tvl),
    DatasetSpec(SOURCE, "chain_tvl", "defillama_api", _fetch_chain_tvl, parse_chain_tvl),
    DatasetSpec(SOURCE, "stablecoins", "defillama_stablecoins", _fetch_stablecoins, parse_stablecoins),
    DatasetSpec(SOURCE, "price", "defillama_coins", _fetch_price, parse_price, Cadence.MONTHS),
)
"""What this source offers."""
