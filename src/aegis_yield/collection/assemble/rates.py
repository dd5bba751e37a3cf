"""Turning what sources quote into what a day paid: compounding, funding by the day, one number a day."""

from __future__ import annotations

import datetime as dt
from typing import Final

import polars as pl

DAYS_A_YEAR: Final = 365.0

MIN_COVERED_HOURS: Final = 21.0
"""A day of funding is whole if its payments cover this much of it: one hour lost of twenty-four is the source's own
gap, one payment lost of three is ours."""

LONGEST_INTERVAL_HOURS: Final = 8.0
"""No venue pays less often: a payment stands for no more than this, however far away its neighbours are."""

_HOUR_US: Final = 3_600_000_000


def compounded(apr: pl.Expr) -> pl.Expr:
    """Return simple interest a year as what it makes when compounded daily."""
    return (1.0 + apr / DAYS_A_YEAR).pow(DAYS_A_YEAR) - 1.0


def funding_days(funding: pl.DataFrame) -> pl.DataFrame:
    """Return what the short side of a perpetual earned each day, annualised simply and gross of costs.

    Parameters
    ----------
    funding : polars.DataFrame
        ``time`` and ``rate`` of one market, any interval and any mix of intervals: each payment stands for the time
        to its nearer neighbour, so that a change from 8 h to 1 h needs no setting.

    Returns
    -------
    polars.DataFrame
        ``date``, ``apy`` = sum of the day's payments x 365. Payments belong to the day in which they were made.
        Days whose payments cover less than :data:`MIN_COVERED_HOURS` hours are absent.
    """
    moment = pl.col("time").dt.epoch("us")
    gap = pl.min_horizontal(moment.diff(), -moment.diff(-1)) / _HOUR_US
    return (
        funding.sort("time")
        .with_columns(gap.clip(upper_bound=LONGEST_INTERVAL_HOURS).alias("_hours"))
        .group_by(pl.col("time").dt.date().alias("date"), maintain_order=True)
        .agg((pl.col("rate").sum() * DAYS_A_YEAR).alias("apy"), pl.col("_hours").sum())
        .filter(pl.col("_hours") >= MIN_COVERED_HOURS)
        .select("date", "apy")
        .sort("date")
    )


def closes(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the last closing price of each complete day.

    Parameters
    ----------
    candles : polars.DataFrame
        ``time`` (opening), ``close`` of final hourly candles of one market.

    Returns
    -------
    polars.DataFrame
        ``date``, ``value``. A day without its last candle (23:00) is absent.
    """
    last_hour = candles.filter(pl.col("time").dt.hour() == _LAST_HOUR)
    return last_hour.select(pl.col("time").dt.date().alias("date"), pl.col("close").alias("value")).sort("date")


def realised_volatility(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the annualised volatility of each complete day: sqrt(365 * 24 * mean of squared hourly log returns).

    Parameters
    ----------
    candles : polars.DataFrame
        As for :func:`closes`.

    Returns
    -------
    polars.DataFrame
        ``date``, ``value``; a day with fewer than 20 hourly returns is absent, and so is one that is not over.
    """
    hourly = candles.sort("time").with_columns(
        pl.col("close").log().diff().alias("_return"), pl.col("time").diff().alias("_step")
    )
    steps = hourly.filter(pl.col("_step") == dt.timedelta(hours=1))
    days = steps.group_by(pl.col("time").dt.date().alias("date")).agg(
        (pl.col("_return").pow(2).mean() * DAYS_A_YEAR * 24.0).sqrt().alias("value"), pl.len().alias("_n")
    )
    end_of_known = pl.lit(hourly["time"].max(), hourly.schema["time"])
    is_over = pl.col("date").cast(hourly.schema["time"]) + dt.timedelta(hours=_LAST_HOUR) <= end_of_known
    return days.filter((pl.col("_n") >= _MIN_RETURNS) & is_over).select("date", "value").sort("date")


_LAST_HOUR: Final = 23
_MIN_RETURNS: Final = 20
