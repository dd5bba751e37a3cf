"""Rows of the table ``series_days``: one number a day, which several sources give in forms of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from aegis_yield.collection.schemas import TABLES, empty_rows
from aegis_yield.collection.units import Page

TABLE: Final = "series_days"


@dataclass(frozen=True)
class Point:
    """One day of a series.

    Attributes
    ----------
    day : date or None
        UTC day; None where the source's time is no time (the hard checks set such a row aside).
    value : float or None
        In this project's units.
    is_settled : bool
        Whether the source will not change it any more. A day that is not over is never final, whatever this says.
    """

    day: dt.date | None
    value: float | None
    is_settled: bool = True


def series_rows(page: Page, series: str, points: Iterable[Point]) -> dict[str, pl.DataFrame]:
    """Return the rows of one series that an answer holds, by table; of several points of a day the later one holds."""
    kept = list(points)
    if not kept:
        return {TABLE: empty_rows(TABLE)}
    today = page.fetched_at.date()
    columns = {
        "date": [point.day for point in kept],
        "value": [point.value for point in kept],
        "is_final": [point.day is not None and point.day < today and point.is_settled for point in kept],
    }
    kinds = TABLES[TABLE].columns
    rows = pl.DataFrame(columns, schema={name: kinds[name] for name in columns})
    return {TABLE: rows.with_columns(source=pl.lit(page.demand.source), series=pl.lit(series))}


def midnight(day: dt.date) -> dt.datetime:
    """Return the moment at which a UTC day begins."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def nearest_midnight(moment: dt.datetime) -> dt.datetime:
    """Return the midnight, UTC, that is nearest to a moment."""
    return midnight((moment + dt.timedelta(hours=12)).date())
