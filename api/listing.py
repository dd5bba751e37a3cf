"""Listing: what one state of the tables holds of each strategy, searched and sorted for a page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import polars as pl

from aegis_yield.pipelines.datasets import strategy_listing
from aegis_yield.pipelines.predict import Forecaster
from api.forecast_tables import ForecastTable
from api.names import NameIndex

Row: TypeAlias = dict[str, Any]

SortKey = Literal[
    "strategy_id", "-strategy_id", "project", "-project", "chain", "-chain", "symbol", "-symbol", "category",
    "-category", "first_date", "-first_date", "last_date", "-last_date", "n_rows", "-n_rows", "last_apy", "-last_apy",
    "tvl_usd", "-tvl_usd", "data_age_days", "-data_age_days", "forecast_apy", "-forecast_apy", "lower", "-lower",
    "upper", "-upper", "volatility", "-volatility",
]  # fmt: skip
"""Columns to sort by; ``-`` for falling. What is unknown comes last either way."""

FORECAST_COLUMNS: Final = ("forecast_apy", "lower", "upper", "volatility")
_SEARCHED: Final = ("strategy_id", "project", "chain", "symbol")


class Listing:
    """Every strategy with rows, sorted by id.

    Parameters
    ----------
    forecaster : Forecaster
        The state.
    names : NameIndex
        Aliases.
    """

    def __init__(self, forecaster: Forecaster, names: NameIndex) -> None:
        self._dataset = forecaster.dataset
        tvl = _newest_tvl(self._dataset.yields)
        self.rows: list[Row] = [
            {
                **row,
                "aliases": names.aliases.get(row["strategy_id"], []),
                "tvl_usd": tvl.get(row["strategy_id"]),
            }
            for row in strategy_listing(self._dataset)
        ]
        self.by_id: dict[str, Row] = {row["strategy_id"]: row for row in self.rows}

    def sparks(self, strategies: Sequence[str], n_days: int) -> dict[str, list[float | None]]:
        """Return the daily apy of the tables' last days, oldest first; None on a day without a row."""
        last = self._dataset.last_date
        first = last - dt.timedelta(days=n_days - 1)
        recent = self._dataset.yields.filter(
            pl.col("date") >= first, pl.col("strategy_id").is_in(list(strategies)), pl.col("apy").is_finite()
        ).select("strategy_id", (pl.col("date") - first).dt.total_days().alias("day"), "apy")
        found: dict[str, list[float | None]] = {strategy: [None] * n_days for strategy in strategies}
        for strategy, day, apy in recent.iter_rows():
            found[strategy][day] = apy
        return found


def with_forecasts(rows: Sequence[Row], table: ForecastTable | None, today: dt.date) -> list[Row]:
    """Add to each row how old its data is and what is forecast.

    Parameters
    ----------
    rows : sequence of dict
        Of a listing.
    table : ForecastTable or None
        None where nothing may be forecast.
    today : datetime.date
        UTC.
    """
    return [{**row, "data_age_days": (today - row["last_date"]).days, **_forecast(row, table)} for row in rows]


def matching(rows: Sequence[Row], equal: dict[str, str | None], search: str | None) -> list[Row]:
    """Return the rows whose columns have these values (case does not matter) and that hold a text somewhere.

    Parameters
    ----------
    rows : sequence of dict
        Of a listing.
    equal : dict of str to str or None
        Wanted values by column; None for any.
    search : str or None
        Part of the id, an alias, the project, chain or symbol.
    """
    wanted = {column: value.lower() for column, value in equal.items() if value is not None}
    part = (search or "").strip().lower()
    return [
        row
        for row in rows
        if all(str(row[column] or "").lower() == value for column, value in wanted.items())
        and (not part or any(part in text for text in _texts(row)))
    ]


def in_order(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return the rows sorted by a column, falling if it begins with ``-``; what is unknown last, equal ones by id."""
    column, falling = sort.removeprefix("-"), sort.startswith("-")
    by_id = sorted(rows, key=lambda row: str(row["strategy_id"]))
    known = [row for row in by_id if row[column] is not None]
    known.sort(key=lambda row: _sortable(row[column]), reverse=falling)
    return [*known, *(row for row in by_id if row[column] is None)]


def _forecast(row: Row, table: ForecastTable | None) -> Row:
    cell = table.cells.get(row["strategy_id"]) if table is not None else None
    if table is None or cell is None:
        reason = table.answer.left_out.get(row["strategy_id"]) if table is not None else "the data is too old"
        return {**dict.fromkeys(FORECAST_COLUMNS), "no_forecast": reason}
    made = cell.row
    return {"forecast_apy": made.apy, "lower": made.low, "upper": made.high, "volatility": made.volatility}


def _newest_tvl(yields: pl.DataFrame) -> dict[str, float]:
    if "tvl_usd" not in yields.columns:
        return {}
    known = yields.filter(pl.col("tvl_usd").is_finite())
    return dict(known.group_by("strategy_id").agg(pl.col("tvl_usd").last()).iter_rows())


def _texts(row: Row) -> list[str]:
    return [str(text).lower() for text in (*(row[column] for column in _SEARCHED), *row["aliases"]) if text]


def _sortable(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
