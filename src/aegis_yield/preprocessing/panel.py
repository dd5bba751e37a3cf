"""The panel: long tables turned into dense arrays, one row per strategy, one column per day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.categories import CATEGORY_CODE
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.limits import ELIGIBILITY_MIN_ROWS, ELIGIBILITY_WINDOW_DAYS
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

SERIES: Final[tuple[str, ...]] = (
    "apy", "apy_reward", "tvl_usd", "borrow_apy", "utilization", "is_outlier",
)  # fmt: skip
"""Columns of ``yields`` that features are made from; all but ``apy`` may be absent."""

_EPOCH: Final = dt.date(1970, 1, 1)


def to_day(date: dt.date) -> int:
    """Return a date as days since 1970-01-01."""
    return (date - _EPOCH).days


def to_date(day: int) -> dt.date:
    """Return the date of a day number (see :func:`to_day`)."""
    return _EPOCH + dt.timedelta(days=int(day))


@dataclass(frozen=True)
class Panel:
    """Daily series of many strategies on one calendar.

    Attributes
    ----------
    strategy_ids : ndarray of str, shape (n_strategies,)
        Sorted.
    categories : ndarray of int, shape (n_strategies,)
        Positions in ``CATEGORIES``.
    first_day : int
        Day number of column 0.
    age_at_start : ndarray of int, shape (n_strategies,)
        Days between a strategy's first row in the dataset and column 0 (negative: born later).
    series : dict of str to ndarray of shape (n_strategies, n_days)
        One array for each of :data:`SERIES`; NaN where there is no row or no value.
    market : dict of str to ndarray of shape (n_days,)
        The market columns on the same calendar.
    """

    strategy_ids: np.ndarray
    categories: IntArray
    first_day: int
    age_at_start: IntArray
    series: dict[str, FloatArray]
    market: dict[str, FloatArray]

    @property
    def n_strategies(self) -> int:
        """Number of strategies (rows)."""
        return len(self.strategy_ids)

    @property
    def n_days(self) -> int:
        """Number of days (columns)."""
        return int(self.series["apy"].shape[1])

    @property
    def days(self) -> IntArray:
        """Day number of every column, shape (n_days,)."""
        return np.arange(self.first_day, self.first_day + self.n_days)

    @property
    def observed(self) -> BoolArray:
        """Where there is a row, shape (n_strategies, n_days)."""
        return np.asarray(~np.isnan(self.series["apy"]))

    def column_of(self, day: int) -> int:
        """Return the column of a day number."""
        return day - self.first_day

    def eligible(self) -> BoolArray:
        """Where a strategy may be forecast: shape (n_strategies, n_days).

        A row on the day itself, and at least 30 rows in the 60 days that end with it.
        """
        observed = self.observed
        total = np.cumsum(np.pad(observed, ((0, 0), (ELIGIBILITY_WINDOW_DAYS, 0))), axis=1)
        recent: IntArray = total[:, ELIGIBILITY_WINDOW_DAYS:] - total[:, :-ELIGIBILITY_WINDOW_DAYS]
        return np.asarray(observed & (recent >= ELIGIBILITY_MIN_ROWS))


def build_panel(dataset: Dataset, start: dt.date | None = None, end: dt.date | None = None) -> Panel:
    """Lay a dataset out on a daily calendar.

    Parameters
    ----------
    dataset : Dataset
        Validated tables. Strategies without a row between ``start`` and ``end`` are left out.
    start, end : datetime.date, optional
        First and last day of the calendar; by default those of the data.

    Returns
    -------
    Panel
        Missing days and missing values are NaN; nothing is filled here.
    """
    start = start or dataset.first_date
    end = end or dataset.last_date
    births = dataset.yields.group_by("strategy_id").agg(pl.col("date").min().alias("born"))
    rows = dataset.yields.filter(pl.col("date").is_between(start, end))
    index = (
        rows.select("strategy_id").unique().sort("strategy_id")
        .join(births, on="strategy_id", how="left", maintain_order="left")
        .join(dataset.strategies.select("strategy_id", "category"), on="strategy_id", how="left", maintain_order="left")
        .with_row_index("code")
    )  # fmt: skip
    n_days = (end - start).days + 1
    codes = rows.join(index.select("strategy_id", "code"), on="strategy_id", how="left", maintain_order="left")["code"]
    cells = codes.to_numpy().astype(np.int64) * n_days + (
        rows["date"].cast(pl.Int32).to_numpy().astype(np.int64) - to_day(start)
    )
    series = {name: _scatter(rows, name, cells, (index.height, n_days)) for name in SERIES}
    return Panel(
        strategy_ids=index["strategy_id"].to_numpy(),
        categories=_category_codes(index["category"]),
        first_day=to_day(start),
        age_at_start=to_day(start) - index["born"].cast(pl.Int32).to_numpy().astype(np.int64),
        series=series,
        market=_market_columns(dataset.market, start, n_days),
    )


def _scatter(rows: pl.DataFrame, name: str, cells: IntArray, shape: tuple[int, int]) -> FloatArray:
    dense = np.full(shape, np.nan)
    if name in rows.columns:
        values = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        dense.ravel()[cells] = np.where(np.isfinite(values), values, np.nan)
    return dense


def _category_codes(categories: pl.Series) -> IntArray:
    other = CATEGORY_CODE["other"]
    return np.array([CATEGORY_CODE.get(name, other) for name in categories.to_list()], dtype=np.int64)


def _market_columns(market: pl.DataFrame, start: dt.date, n_days: int) -> dict[str, FloatArray]:
    columns = {}
    days = market["date"].cast(pl.Int32).to_numpy().astype(np.int64) - to_day(start)
    inside = (days >= 0) & (days < n_days)
    for name in market.columns:
        if name == "date" or not market.schema[name].is_numeric():
            continue
        dense = np.full(n_days, np.nan)
        values = market[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        dense[days[inside]] = np.where(np.isfinite(values), values, np.nan)[inside]
        columns[name] = dense
    return columns
