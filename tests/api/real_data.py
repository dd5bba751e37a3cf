"""The small market as if it were real: it says so, and ends on a day of one's choice."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl
from bundles import market

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.predict import Forecaster


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def real_market(age_days: int) -> Dataset:
    """The market, not simulated, its newest row so many days old."""
    moved = pl.col("date") + (today() - dt.timedelta(days=age_days) - market().last_date)
    collected = pl.lit("a source").alias("source")
    return replace(
        market(),
        yields=market().yields.with_columns(moved, collected),
        market=market().market.with_columns(moved),
    )


def aged(forecaster: Forecaster, age_days: int, ended: dict[str, int] | None = None) -> Forecaster:
    """A forecaster on real data; some strategies ended so many days before the others."""
    data = real_market(age_days)
    last = data.last_date
    for strategy, days in (ended or {}).items():
        kept = (pl.col("strategy_id") != strategy) | (pl.col("date") <= last - dt.timedelta(days=days))
        data = replace(data, yields=data.yields.filter(kept))
    return Forecaster(data, forecaster.bundle, forecaster.model_version, forecaster.names)
