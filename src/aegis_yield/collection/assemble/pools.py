"""DefiLlama's pools by the day: rates, liquidity, and both sides of lending pools."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from aegis_yield.collection.assemble.view import View


def pool_days(view: View, pools: Sequence[str]) -> pl.DataFrame:
    """Return the days of pools.

    Parameters
    ----------
    view : View
        The history.
    pools : sequence of str
        Their uuids.

    Returns
    -------
    polars.DataFrame
        ``pool``, ``date``, ``apy``, ``apy_base``, ``apy_reward``, ``tvl_usd``, ``borrow_apy``, ``utilization``,
        ``total_supply_usd``, ``total_borrow_usd``; sorted by pool and date. Days that only the lending chart has are
        absent: they have no rate.
    """
    mine = pl.col("pool").is_in(list(pools))
    rates = view.final("pool_days", mine).select("pool", "date", "apy", "apy_base", "apy_reward", "tvl_usd")
    sides = view.final("pool_lending_days", mine).select(
        "pool",
        "date",
        "borrow_apy",
        pl.when(pl.col("total_supply_usd") > 0)
        .then(pl.col("total_borrow_usd") / pl.col("total_supply_usd"))
        .alias("utilization"),
        "total_supply_usd",
        "total_borrow_usd",
    )
    return rates.join(sides, on=["pool", "date"], how="left").sort("pool", "date")
