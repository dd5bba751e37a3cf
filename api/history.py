"""History: the days of one strategy as columns, gaps included, and how far it stood below its peak."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.targets import DAYS_PER_YEAR, log_growth
from aegis_yield.preprocessing.contract import YIELD_NUMBERS
from aegis_yield.risk.drawdown import compounded_drawdowns
from aegis_yield.utils.typing import FloatArray

COLUMNS: Final = ("apy", *YIELD_NUMBERS)
DEFAULT_COLUMNS: Final = "apy,tvl_usd"
MAX_DAYS: Final = 5_000
DRAWDOWN: Final = "drawdown"


@dataclass(frozen=True)
class Span:
    """Which days of a strategy's history, and what of them.

    Attributes
    ----------
    start, end : datetime.date or None
        First and last day; by default its first and last row.
    columns : tuple of str
        Some of :data:`COLUMNS`.
    drawdown : bool
        Whether to add how far it stood below its peak.
    """

    start: dt.date | None = None
    end: dt.date | None = None
    columns: tuple[str, ...] = ("apy",)
    drawdown: bool = False


def columns_in(text: str) -> tuple[str, ...]:
    """Return the columns that a comma-separated list names, each once.

    Raises
    ------
    RequestError
        If one is unknown, or there is none.
    """
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in wanted if name not in COLUMNS), None)
    if unknown is not None or not wanted:
        raise RequestError("columns", unknown or text, f"some of {','.join(COLUMNS)}")
    return wanted


def history_of(yields: pl.DataFrame, strategy: str, span: Span) -> dict[str, Any]:
    """Return a strategy's days as plain values: ``dates``, and under ``columns`` a list for each, None in gaps.

    Parameters
    ----------
    yields : polars.DataFrame
        The table, sorted by strategy and date.
    strategy : str
        An id with rows.
    span : Span
        Which days.

    Raises
    ------
    RequestError
        If the end lies before the start, or there are too many days.
    """
    own = yields.filter(pl.col("strategy_id") == strategy)
    first, last = own["date"].item(0), own["date"].item(-1)
    start, end = _bounds(span, first, last)
    days = pl.DataFrame({"date": pl.date_range(start, end, eager=True)})
    if span.drawdown:
        own = own.with_columns(pl.Series(DRAWDOWN, drawdowns(own)))
    laid_out = days.join(own, on="date", how="left", maintain_order="left")
    wanted = [*span.columns, *([DRAWDOWN] if span.drawdown else [])]
    return {
        "strategy_id": strategy,
        "dates": [day.isoformat() for day in laid_out["date"]],
        "columns": {name: _values(laid_out, name) for name in wanted},
    }


def drawdowns(own: pl.DataFrame) -> FloatArray:
    """Return by how much each row of one strategy lies below the highest value that a deposit had before.

    A deposit grows by each day's rate and moves with the price, where one is known; days without a row earn nothing.

    Parameters
    ----------
    own : polars.DataFrame
        ``apy`` and perhaps ``price``, by date.

    Returns
    -------
    ndarray of shape (n_rows,)
        0 … 1.
    """
    growth = np.cumsum(np.nan_to_num(log_growth(own["apy"].to_numpy())) / DAYS_PER_YEAR)
    nav = np.exp(growth + _log_prices(own))
    return np.asarray(compounded_drawdowns(np.concatenate([[1.0], nav]))[1:])


def _log_prices(own: pl.DataFrame) -> FloatArray:
    """Return the log of the price over the first known one, 0 before it; the last known one stands where it is not."""
    if "price" not in own.columns:
        return np.zeros(len(own))
    price = own["price"]
    known = pl.select(pl.when((price > 0) & price.is_finite()).then(price)).to_series()
    if known.null_count() == len(known):
        return np.zeros(len(own))
    held = known.forward_fill().backward_fill().to_numpy()
    return np.asarray(np.log(held / held[0]))


def _bounds(span: Span, first: dt.date, last: dt.date) -> tuple[dt.date, dt.date]:
    end = span.end or max(last, span.start or last)
    start = span.start or dt.date.fromordinal(max(min(first, end).toordinal(), end.toordinal() - MAX_DAYS + 1))
    if start > end:
        raise RequestError("start", start, f"a day up to the end, {end}")
    if (end - start).days >= MAX_DAYS:
        raise RequestError("start", start, f"at most {MAX_DAYS:,} days up to the end, {end}")
    return start, end


def _values(days: pl.DataFrame, name: str) -> Sequence[float | None]:
    if name not in days.columns:
        return [None] * len(days)
    values = days[name]
    return pl.select(pl.when(values.is_finite()).then(values)).to_series().to_list()
