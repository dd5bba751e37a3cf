"""The delta-neutral carry trade, built from its legs: long staked ether, short its perpetual, after costs.

Per unit of spot notional the trade earns a day

    long leg      (1 + apy_long)^(1/365) - 1             the growth of the staked position
    short leg     h * sum of the day's funding payments  h = hedge ratio; longs pay shorts when funding is positive
    costs         round_trip / holding_days + rebalancing / 365 + m * borrow / 365

on a capital of ``1 + m``, where ``m = h / leverage`` is the margin of the short (0 if the staked position itself is
the margin). The apy is that day's net carry on capital times 365: cash that is paid out and not reinvested, so it is
not compounded. Moves of the basis and of the peg change the value of the position and not its yield; they belong to
``price`` and to risk. Positions are re-hedged daily, so the notional of both legs is that of the day's start.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from aegis_yield.collection.assemble.rates import DAYS_A_YEAR
from aegis_yield.collection.catalogue import Carry
from aegis_yield.domain.targets import GROWTH_FLOOR

_BASIS_POINTS: Final = 10_000.0


def margin_share(carry: Carry) -> float:
    """Return the margin per unit of spot notional."""
    return carry.hedge_ratio / carry.leverage if carry.leverage > 0 else 0.0


def carry_days(carry: Carry, long: pl.DataFrame, short: pl.DataFrame) -> pl.DataFrame:
    """Return what the trade paid each day on all capital tied up in it.

    Parameters
    ----------
    carry : Carry
        Hedge ratio, leverage and costs.
    long : polars.DataFrame
        ``date``, ``apy`` of the long leg, compounded.
    short : polars.DataFrame
        ``date``, ``apy`` of the short leg: a day's funding times 365 (see ``rates.funding_days``).

    Returns
    -------
    polars.DataFrame
        ``date``; ``apy`` net of costs; ``apy_base`` the share of the long leg and ``apy_reward`` that of funding,
        both before costs and on capital. Days that either leg misses are absent.
    """
    both = long.select("date", pl.col("apy").alias("_long")).join(
        short.select("date", pl.col("apy").alias("_short")), on="date"
    )
    capital = 1.0 + margin_share(carry)
    # Floored as in the definition of the targets: a negative number has no root.
    growth = ((1.0 + pl.col("_long")).clip(lower_bound=GROWTH_FLOOR).pow(1.0 / DAYS_A_YEAR) - 1.0) * DAYS_A_YEAR
    funding = carry.hedge_ratio * pl.col("_short")
    return both.select(
        "date",
        ((growth + funding - cost_a_year(carry)) / capital).alias("apy"),
        (growth / capital).alias("apy_base"),
        (funding / capital).alias("apy_reward"),
    ).sort("date")


def cost_a_year(carry: Carry) -> float:
    """Return the costs of the trade per unit of spot notional and year."""
    turning = carry.round_trip_cost_bps / _BASIS_POINTS * DAYS_A_YEAR / carry.holding_days
    hedging = carry.rebalance_cost_bps_a_year / _BASIS_POINTS
    return turning + hedging + margin_share(carry) * carry.margin_borrow_apy
