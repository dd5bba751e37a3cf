"""What the market table shows of the common shocks: prices, gas, sizes, moods and rates, day by day."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl

from aegis_yield.simulation.processes import ar1
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Purpose
from aegis_yield.utils.typing import FloatArray

_FIRST_ETH_USD, _FIRST_BTC_USD = 1_700.0, 27_000.0
_FIRST_TVL_USD, _FIRST_STABLECOINS_USD = 8e10, 1.4e11
_FIRST_GAS_GWEI = 28.0
# Blocks got roomier year by year: the trend of gas halves about every 14 months.
_GAS_HALVING_DAYS = 420.0
_IS_BUSINESS_DAY = pl.col("date").dt.weekday() <= 5


def market_table(seed: int, shocks: CommonShocks, start: datetime.date) -> pl.DataFrame:
    """Build the table of market-wide series.

    Parameters
    ----------
    seed : int
        The market's seed.
    shocks : CommonShocks
        The common shocks of every day of the table.
    start : datetime.date
        The first day.

    Returns
    -------
    polars.DataFrame
        One row a day: ``date``, prices in US dollars, gas in gwei, sizes in US dollars, ``fear_greed``
        0 to 100, ``vix`` and ``fed_funds_pct`` in percent, null at weekends.
    """
    noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(Purpose.COMMON, 99)))
    n_days = shocks.n_days
    days = [start + datetime.timedelta(days=day) for day in range(n_days)]
    drawn = noise.standard_normal((4, n_days))
    gas_trend = _FIRST_GAS_GWEI * 0.5 ** (np.arange(n_days) / _GAS_HALVING_DAYS)
    tvl_drift = np.cumsum(0.0002 + 0.007 * drawn[0])
    supply_growth = 0.0004 + 0.0005 * shocks.appetite + 0.0022 * drawn[1]
    table = pl.DataFrame(
        {
            "date": days,
            "eth_price": _FIRST_ETH_USD * np.exp(shocks.log_eth),
            "btc_price": _FIRST_BTC_USD * np.exp(shocks.log_btc),
            "gas_gwei": np.maximum(gas_trend * np.exp(shocks.log_gas), 0.05),
            "defi_tvl_usd": _FIRST_TVL_USD * np.exp(0.6 * shocks.log_eth + tvl_drift),
            "stablecoin_supply_usd": _FIRST_STABLECOINS_USD * np.exp(np.cumsum(supply_growth)),
            "fear_greed": np.clip(np.round(50.0 + 17.0 * shocks.appetite + 5.0 * drawn[2]), 5.0, 95.0),
            "vix": _vix(shocks, drawn[3]),
            "fed_funds_pct": 100.0 * shocks.fed_funds,
        },
        schema_overrides={"date": pl.Date},
    )
    return table.with_columns(pl.when(_IS_BUSINESS_DAY).then(pl.col("vix", "fed_funds_pct")))


def _vix(shocks: CommonShocks, drawn: FloatArray) -> FloatArray:
    """Stock volatility in percent: its own slow process, pushed by the same panics as crypto's."""
    own = ar1(0.06 * drawn[None, :], 0.96)[0]
    return np.asarray(17.0 * np.exp(own + 0.25 * shocks.log_volatility + 0.08 * shocks.stress), dtype=np.float64)
