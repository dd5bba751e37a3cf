"""Rows by time that an exchange hands out a page at once: walking through the pages, and reading rows from one.

A walk goes on at the time of the last row that came, never at a count or an interval: funding intervals differ by
market and change. An endpoint that hands out the oldest rows first is walked forwards; one that hands out the newest
first is walked backwards through pieces of the window, so that what lies before the cursor is always complete.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import EPOCH, Session, number, utc_from_ms
from aegis_yield.collection.schemas import TIME
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

SHORTEST_INTERVAL_MS: Final = HOUR_MS
"""Nobody settles more often than hourly, and the tables hold one row an hour; no other interval is assumed."""

FULL_PAGE_ROWS: Final = 100
"""A shorter page is the last one: no endpoint here was ever known to cut its pages to fewer rows, whatever was asked.
(OKX went from 100 to 400; a limit that is quietly lowered again must lose no row.)"""

_EARLY_MS: Final = MINUTE_MS
"""A settlement stamped so little before the hour is that hour's: a clock that runs ahead."""


@dataclass(frozen=True)
class Endpoint:
    """One endpoint that hands out rows by time.

    Attributes
    ----------
    request : callable
        Makes the request for an entity's rows from one time to another, milliseconds, both inclusive.
    rows : callable
        Returns the rows of an answer about an entity. Raises SourceError if the answer is an error or about another.
    time_ms : callable
        Returns a row's time as the answer gives it.
    overlap_ms : int
        A walk that is taken up again begins so long before its cursor.
    newest_first : bool
        Whether a page that cannot hold all rows holds the newest.
    piece_ms : int
        With ``newest_first``: the window is walked through in pieces of this length.
    """

    request: Callable[[str, int, int], Request]
    rows: Callable[[Any, str], Sequence[Any]]
    time_ms: Callable[[Any], Any]
    overlap_ms: int
    newest_first: bool = False
    piece_ms: int = 31 * DAY_MS

    def times(self, content: Any, entity: str) -> tuple[int, list[int]]:
        """Return how many rows an answer has, and the times that can be read."""
        rows = self.rows(content, entity)
        times = [time for row in rows if (time := whole(self.time_ms(row))) is not None]
        if rows and not times:
            raise SourceError(f"no row has a time, e.g. {str(rows[0])[:120]}", Verdict.FINAL)
        return len(rows), times


FUNDING_OVERLAP_MS: Final = 16 * HOUR_MS
CANDLE_OVERLAP_MS: Final = 2 * HOUR_MS
"""Two intervals each."""


async def walk(endpoint: Endpoint, unit: WorkUnit, session: Session) -> None:
    """Ask for all rows of a unit's window that lie between ``since`` and ``now``, from the cursor on.

    Raises
    ------
    SourceError
        Also if pages stop making progress.
    """
    first, last = _window(endpoint, unit, session)
    if not endpoint.newest_first:
        await _walk_forwards(endpoint, unit, session, (first, last))
        return
    while first <= last:
        end = min(last, first + endpoint.piece_ms - 1)
        await _walk_backwards(endpoint, unit, session, (first, end))
        first = end + 1


def _window(endpoint: Endpoint, unit: WorkUnit, session: Session) -> tuple[int, int]:
    first = max(_ms(unit.start), _ms(session.since))
    if session.cursor:
        first = max(first, int(session.cursor) - endpoint.overlap_ms)
    now = (session.now - EPOCH) // dt.timedelta(milliseconds=1)
    return first, min(_ms(unit.end) - 1, now)


async def _walk_forwards(endpoint: Endpoint, unit: WorkUnit, session: Session, window: tuple[int, int]) -> None:
    first, last = window
    while first <= last:
        n_rows, times = await _ask(endpoint, unit, session, (first, last))
        inside = [time for time in times if first <= time <= last]
        if inside and n_rows >= FULL_PAGE_ROWS and min(inside) > first + endpoint.overlap_ms:
            await _refuse_skipped(endpoint, unit, session, (first, min(inside) - 1))
        if inside:
            session.checkpoint(str(max(inside)))
        if not inside or n_rows < FULL_PAGE_ROWS or max(inside) + SHORTEST_INTERVAL_MS > last:
            return
        first = max(inside) + 1


async def _refuse_skipped(endpoint: Endpoint, unit: WorkUnit, session: Session, window: tuple[int, int]) -> None:
    """Refuse a full page that began late if there are rows before it: it held the newest rows, not the oldest."""
    first, last = window
    _, times = await _ask(endpoint, unit, session, window)
    if any(first <= time <= last for time in times):
        source, dataset = unit.demand.source, unit.demand.dataset
        raise SourceError(f"{source}: {dataset} hands out the newest rows of a window, not the oldest", Verdict.FINAL)


async def _walk_backwards(endpoint: Endpoint, unit: WorkUnit, session: Session, window: tuple[int, int]) -> None:
    first, last = window
    newest: int | None = None
    while first <= last:
        n_rows, times = await _ask(endpoint, unit, session, (first, last))
        inside = [time for time in times if first <= time <= last]
        newest = newest if newest is not None or not inside else max(inside)
        if not inside or n_rows < FULL_PAGE_ROWS or min(times) < first:
            break
        last = min(inside) - 1
    # Only now: a run cut off before it has the newest rows of the piece but not all older ones.
    if newest is not None:
        session.checkpoint(str(newest))


async def _ask(endpoint: Endpoint, unit: WorkUnit, session: Session, window: tuple[int, int]) -> tuple[int, list[int]]:
    entity = unit.demand.entity
    request = endpoint.request(entity, *window)

    def check(content: Any) -> None:
        _refuse_strays(endpoint, endpoint.times(content, entity)[1], window)

    reply = await session.ask(replace(request, context={"from_ms": window[0], "to_ms": window[1]}), check)
    return endpoint.times(reply.content, entity)


def _refuse_strays(endpoint: Endpoint, times: Sequence[int], window: tuple[int, int]) -> None:
    """Refuse a page that shows that the endpoint does not heed where it was told to begin or to end.

    A row or two just outside do no harm: some endpoints hand out the boundary twice. Rows before the window are also
    to be expected of one that starts at its end, because not every such endpoint can be told where to stop.
    """
    first, last = window
    early = not endpoint.newest_first and min(times, default=first) < first - endpoint.overlap_ms
    late = max(times, default=last) > last + endpoint.overlap_ms
    if early or late:
        asked, received = f"{_words(first)} … {_words(last)}", f"{_words(min(times))} … {_words(max(times))}"
        raise SourceError(f"ignores its cursor: asked for {asked}, received {received}", Verdict.FINAL)


def objects(rows: Any, **expected: str) -> list[dict[str, Any]]:
    """Return the rows of an answer if they are objects and about what was asked for.

    Raises
    ------
    SourceError
        Final, if they are not, or if a row gives one of the ``expected`` fields with another value.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SourceError(f"expected a list of objects, received {str(rows)[:120]}", Verdict.FINAL)
    for name, value in expected.items():
        others = {str(row[name]) for row in rows if name in row and str(row[name]) != value}
        if others:
            raise SourceError(f"asked for {name} {value!r}, received {sorted(others)[:3]}", Verdict.FINAL)
    return rows


def candle_lists(rows: Any) -> list[list[Any]]:
    """Return the rows of an answer if they are lists of a candle's numbers: time, open, high, low, close, volume.

    Raises
    ------
    SourceError
        Final, if they are not.
    """
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= _CANDLE_FIELDS for row in rows):
        raise SourceError(f"expected a list of candles, received {str(rows)[:120]}", Verdict.FINAL)
    return rows


_CANDLE_FIELDS: Final = 6


def funding_frame(page: Page, rows: Iterable[tuple[Any, Any, Any]]) -> Mapping[str, pl.DataFrame]:
    """Return the table of funding that rows of (time in ms, rate, mark price) make.

    The time is that of the settlement: the full hour, without the venue's jitter.
    """
    kept = [row for row in rows if _is_asked_for(page, row[0])]
    columns = {
        "time": [_full_hour(time) for time, _, _ in kept],
        "rate": [number(rate) for _, rate, _ in kept],
        "mark_price": [number(price) for _, _, price in kept],
    }
    frame = pl.DataFrame(columns, schema={"time": TIME, "rate": pl.Float64, "mark_price": pl.Float64})
    return {"funding": frame.with_columns(*_names(page))}


def candle_frame(page: Page, rows: Iterable[Sequence[Any]]) -> Mapping[str, pl.DataFrame]:
    """Return the table of hourly candles that rows of (opening in ms, open, high, low, close, volume, …) make.

    A candle that was still open when the answer came is not final.
    """
    kept = [row for row in rows if _is_asked_for(page, row[0])]
    columns: dict[str, list[Any]] = {"time": [utc_from_ms(row[0]) for row in kept]}
    for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        columns[name] = [number(row[place]) for row in kept]
    schema = {name: TIME if name == "time" else pl.Float64 for name in columns}
    is_closed = pl.col("time") + dt.timedelta(hours=1) <= page.fetched_at
    frame = pl.DataFrame(columns, schema=schema).with_columns(
        *_names(page), pl.lit("1h").alias("interval"), is_closed.fill_null(False).alias("is_final")
    )
    return {"candles": frame}


def whole(value: Any) -> int | None:
    """Return a JSON value as a whole number, whether it came as one or as text; None if it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_asked_for(page: Page, time: Any) -> bool:
    """Whether a row is one that was asked for; one whose time cannot be read is kept for the checks to name."""
    time_ms = whole(time)
    return time_ms is None or page.context["from_ms"] <= time_ms <= page.context["to_ms"]


def _full_hour(time: Any) -> dt.datetime | None:
    time_ms = whole(time)
    return None if time_ms is None else utc_from_ms((time_ms + _EARLY_MS) // HOUR_MS * HOUR_MS)


def _names(page: Page) -> tuple[pl.Expr, pl.Expr]:
    return pl.lit(page.demand.source).alias("venue"), pl.lit(page.demand.entity).alias("symbol")


def _ms(day: dt.date) -> int:
    return (day - EPOCH.date()).days * DAY_MS


def _words(time_ms: int) -> str:
    time = utc_from_ms(time_ms)
    return str(time_ms) if time is None else f"{time:%Y-%m-%d %H:%M}"
