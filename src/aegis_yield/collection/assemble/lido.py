"""Daily yield of staked ether from Lido's rebases."""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from aegis_yield.collection.accrual import RAY, SECONDS_A_YEAR

SCHEMA: Final = {"date": pl.Date, "apy": pl.Float64}


def daily_rates(rebases: pl.DataFrame) -> pl.DataFrame:
    """Return what holders of stETH earned, by the day of the report.

    Parameters
    ----------
    rebases : polars.DataFrame
        Newest rows of ``lido_rebases``.

    Returns
    -------
    polars.DataFrame
        ``date``, ``apy``: the growth of the share rate in all reports of the day, compounded from the time that they
        cover to a year; net of the protocol's fee, below 0 after a slashing. Days without a report are absent.
    """
    growth: list[float | None] = []
    for row in rebases.select("pre_shares", "pre_ether", "post_shares", "post_ether").iter_rows():
        pre_shares, pre_ether, post_shares, post_ether = map(int, row)
        before = pre_ether * RAY // pre_shares if pre_shares else 0
        after = post_ether * RAY // post_shares if post_shares else 0
        growth.append(math.log1p((after - before) / before) if before and after else None)
    days = (
        rebases.select(pl.col("time").dt.date().alias("date"), "time_elapsed_s")
        .with_columns(pl.Series("_growth", growth, dtype=pl.Float64))
        .drop_nulls()
        .group_by("date")
        .agg(pl.col("_growth").sum(), pl.col("time_elapsed_s").sum())
        .filter(pl.col("time_elapsed_s") > 0)
        .sort("date")
    )
    yearly = [math.expm1(grown * SECONDS_A_YEAR / elapsed) for _, grown, elapsed in days.iter_rows()]
    return days.select("date").with_columns(pl.Series("apy", yearly, dtype=pl.Float64))
