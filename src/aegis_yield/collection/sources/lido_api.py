"""Lido's own API: the APR that each day's oracle report paid holders of stETH, net of fees.

Facts (OpenAPI of eth-api.lido.fi): rates come in percent, as a number or (at times) as text; times are UNIX seconds;
the history is paged by number and names no order. ``apr/sma`` holds the last seven reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.client import Reply
from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session, number, percent, utc_from_s
from aegis_yield.collection.series import Point, midnight, series_rows
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "lido_api"
PAGE_SIZE: Final = 100
MAX_PAGES: Final = 100
"""Of a month, which holds some thirty reports."""

OVERLAP_S: Final = 3 * 86_400
"""An open month goes on so many seconds before where it stopped, for reports that arrive late."""


def _check_history(content: Any) -> None:
    if not isinstance(content, dict) or not _are_items(content.get("data")):
        raise SourceError(f"expected a list `data` of objects, received {str(content)[:120]}", Verdict.FINAL)
    if _n_pages(content) > MAX_PAGES:
        raise SourceError(f"a month of {_n_pages(content)} pages, at most {MAX_PAGES} are believed", Verdict.FINAL)


def _check_average(content: Any) -> None:
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not _are_items(data.get("aprs")):
        raise SourceError(f"expected a list `aprs` of objects, received {str(content)[:120]}", Verdict.FINAL)


def _are_items(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, dict) for item in found)


async def _fetch_apr(unit: WorkUnit, session: Session) -> None:
    first = int(midnight(max(unit.start, session.since)).timestamp())
    if session.cursor:
        first = max(first, int(session.cursor) - OVERLAP_S)
    now, end = int(session.now.timestamp()), int(midnight(unit.end).timestamp())
    last = min(end - 1, now)  # whether the end is part of the window is not documented
    if first > last:
        return
    try:
        await _walk(unit, session, first, last)
    except SourceError as error:
        if end <= now or "HTTP 404" not in str(error):
            raise
        await session.ask(Request("lido", f"/v1/protocol/{unit.demand.entity}/apr/sma"), _check_average)
    else:
        session.checkpoint(str(last))


async def _walk(unit: WorkUnit, session: Session, first: int, last: int) -> None:
    """Ask for all pages of a window, in the order of time: of reports of one day the one landed last holds."""

    async def ask(page: int) -> Reply:
        asked: dict[str, str | int] = {"startTime": first, "endTime": last, "page": page, "pageSize": PAGE_SIZE}
        return await session.ask(Request("lido", f"/v1/protocol/{unit.demand.entity}/apr", asked), _check_history)

    reply = await ask(1)
    times = _times(reply)
    n_pages = _n_pages(reply.content)
    # If the newest come first, the first page is asked for again at the end.
    newest_first = len(times) > 1 and times[0] > times[-1]
    seen = set(times)
    for page in range(n_pages, 0, -1) if newest_first and n_pages > 1 else range(2, n_pages + 1):
        found = _times(await ask(page))
        if page > 1 and found and seen.issuperset(found):
            raise SourceError(f"lido: page {page} repeats what came before: the host ignores its cursor", Verdict.FINAL)
        seen.update(found)


def _times(reply: Reply) -> list[float]:
    return [number(item.get("timeUnix")) or 0.0 for item in reply.content["data"]]


def _n_pages(content: Mapping[str, Any]) -> int:
    pagination = content.get("pagination")
    count = number(pagination.get("pageCount")) if isinstance(pagination, dict) else None
    return int(count) if count is not None and 1 <= count < float("inf") else 1


def parse_apr(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the history or the last seven reports: series ``<token>.apr``, a fraction; a day's last report holds."""
    data = decoded(page.body)["data"]
    items = data["aprs"] if isinstance(data, dict) else data
    asked = page.request.get("params", {})
    first, last = asked.get("startTime", float("-inf")), asked.get("endTime", float("inf"))
    found = [(utc_from_s(item.get("timeUnix")), percent(item.get("apr"))) for item in items]
    found.sort(key=lambda row: row[0] or page.fetched_at)
    points = [
        Point(moment and moment.date(), apr)
        for moment, apr in found
        if moment is None or first <= moment.timestamp() <= last
    ]
    return series_rows(page, f"{page.demand.entity}.apr", points)


DATASETS: Final[tuple[DatasetSpec, ...]] = (DatasetSpec(SOURCE, "apr", "lido", _fetch_apr, parse_apr, Cadence.MONTHS),)
"""What this source offers."""
