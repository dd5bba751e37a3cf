"""Daily yield of a vault from its share prices; of a vault over vaults from their product."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

import polars as pl

DAYS_A_YEAR: Final = 365
_ONE_DAY: Final = dt.timedelta(days=1)


def daily_rates(prices: pl.DataFrame, vaults: Sequence[str]) -> pl.DataFrame:
    """Return what a vault earned, day by day.

    Parameters
    ----------
    prices : polars.DataFrame
        Newest rows of ``share_prices``.
    vaults : sequence of str
        The vault; if its asset is a share of another vault, then that one too, and so on down to a plain token.

    Returns
    -------
    polars.DataFrame
        ``date``, ``apy``: the growth of the composed price over the day, compounded to a year. A day is absent unless
        every price at both of its ends is known.
    """
    wanted = list(dict.fromkeys(vault.lower() for vault in vaults))
    days = (
        prices.filter(pl.col("vault").is_in(wanted))
        .group_by("date")
        .agg(pl.col("assets_per_share").product().alias("price"), pl.len().alias("_n"))
        .filter(pl.col("_n") == len(wanted))
    )
    before = days.select((pl.col("date") + _ONE_DAY).alias("date"), pl.col("price").alias("before"))
    paired = days.join(before, on="date").sort("date")
    grown = zip(paired["before"], paired["price"], strict=True)
    yearly = [math.expm1(DAYS_A_YEAR * math.log1p((now - then) / then)) for then, now in grown]
    return paired.select("date").with_columns(pl.Series("apy", yearly, dtype=pl.Float64))
