"""Features that strategies share: the market's state and each category's common move.

The market columns are shifted by their publication lag first. Features made from a missing column are 0
(neutral after scaling), and ``market_known`` says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.preprocessing.contract import MARKET_NUMBERS
from aegis_yield.preprocessing.rolling import fill_forward, lagged, masked_mean
from aegis_yield.utils.typing import FloatArray, IntArray

PUBLICATION_LAG_DAYS: Final[dict[str, int]] = {
    "vix": 1, "fed_funds_pct": 1, "defi_tvl_usd": 1, "stablecoin_supply_usd": 1,
}  # fmt: skip
"""Days after which a day's value can be known; columns not listed are known at the day's end."""

MARKET_FEATURES: Final[dict[str, str]] = {
    "eth_return_1": "log return of ether over 1 day",
    "eth_return_7": "log return of ether over 7 days",
    "eth_return_30": "log return of ether over 30 days",
    "eth_volatility_7": "log of ether's 7-day volatility over its 60-day one",
    "eth_volatility_30": "log of ether's annualised 30-day volatility, 0 at 60 %",
    "btc_return_7": "log return of bitcoin over 7 days",
    "gas_level": "log of gas price over its 90-day mean",
    "gas_gwei": "log10 of gas price in gwei, 0 at 10",
    "defi_tvl_change_7": "log change of all DeFi tvl over 7 days",
    "defi_tvl_change_30": "log change of all DeFi tvl over 30 days",
    "stablecoin_change_30": "log change of the stablecoin supply over 30 days",
    "fear_greed": "fear and greed index, -0.5 … 0.5",
    "vix": "log of the VIX, 0 at 20",
    "fed_funds": "federal funds rate, fraction per year times 10",
    "market_known": "share of these market columns that are known",
}
"""Name and meaning of each market feature, in channel order."""

CROSS_SECTION_FEATURES: Final[dict[str, str]] = {
    "category_step_1": "median move of the category today, in each strategy's own scale",
    "category_step_7": "sum of the category's median moves over 7 days",
    "category_activity": "log of the category's mean absolute move today, in own scales",
}
"""Name and meaning of each cross-sectional feature, in channel order."""


def market_features(market: dict[str, FloatArray], n_days: int) -> FloatArray:
    """Compute the market features of every day.

    Parameters
    ----------
    market : dict of str to ndarray of shape (n_days,)
        Columns of the market table on the panel's calendar; any may be absent, NaN where unknown.
    n_days : int
        Length of the calendar.

    Returns
    -------
    ndarray of shape (n_days, n_market_features)
        No NaN: unknown is 0.
    """
    columns = {name: _known_series(market, name, n_days) for name in MARKET_NUMBERS}
    eth, gas = np.log(columns["eth_price"]), np.log(np.maximum(columns["gas_gwei"], 0.01))
    tvl = np.log(columns["defi_tvl_usd"])
    features = {
        "eth_return_1": _difference(eth, 1),
        "eth_return_7": _difference(eth, 7),
        "eth_return_30": _difference(eth, 30),
        "eth_volatility_7": np.log(_volatility(eth, 7) / _volatility(eth, 60)),
        "eth_volatility_30": np.log(_volatility(eth, 30) / 0.6),
        "btc_return_7": _difference(np.log(columns["btc_price"]), 7),
        "gas_level": gas - _mean(gas, 90),
        "gas_gwei": gas / np.log(10.0) - 1.0,
        "defi_tvl_change_7": _difference(tvl, 7),
        "defi_tvl_change_30": _difference(tvl, 30),
        "stablecoin_change_30": _difference(np.log(columns["stablecoin_supply_usd"]), 30),
        "fear_greed": columns["fear_greed"] / 100.0 - 0.5,
        "vix": np.log(columns["vix"] / 20.0),
        "fed_funds": columns["fed_funds_pct"] / 10.0,
        "market_known": np.mean([~np.isnan(x) for x in columns.values()], axis=0),
    }
    stacked = np.stack([features[name] for name in MARKET_FEATURES], axis=1)
    return np.where(np.isfinite(stacked), stacked, 0.0)


_MAX_CARRY_DAYS: Final = 10


def _known_series(market: dict[str, FloatArray], name: str, n_days: int) -> FloatArray:
    raw = market.get(name, np.full(n_days, np.nan))
    if name != "fed_funds_pct":
        raw = np.where(raw > 0, raw, np.nan)  # prices, sizes and indices: zero or less means unknown
    lag = PUBLICATION_LAG_DAYS.get(name, 0)
    shifted = np.concatenate([np.full(lag, np.nan), raw[: n_days - lag]])
    filled, age = fill_forward(shifted)
    return np.where(age <= _MAX_CARRY_DAYS, filled, np.nan)


def _difference(x: FloatArray, days: int) -> FloatArray:
    return np.concatenate([np.full(days, np.nan), x[days:] - x[:-days]])[: len(x)]


def _padded(x: FloatArray, window: int) -> FloatArray:
    return np.concatenate([np.full(window, np.nan), x])


def _mean(x: FloatArray, window: int) -> FloatArray:
    padded = _padded(x, window)
    return masked_mean(np.nan_to_num(padded), ~np.isnan(padded), np.ones(window), len(x))


def _volatility(log_price: FloatArray, window: int) -> FloatArray:
    returns = _difference(log_price, 1)
    return np.sqrt(365.0 * np.maximum(_mean(returns**2, window), 1e-8))


def cross_section_features(z: FloatArray, categories: IntArray, n_out: int) -> FloatArray:
    """Compute what each category did as a whole.

    Parameters
    ----------
    z : ndarray of shape (n_strategies, n_out + 6)
        Daily moves in each strategy's local scale, clipped; NaN where there was no new row.
    categories : ndarray of int, shape (n_strategies,)
        Category codes.
    n_out : int
        Days asked for: the last columns.

    Returns
    -------
    ndarray of shape (n_categories, n_out, 3)
        Zero where a category has fewer than three moves that day.
    """
    n_days = z.shape[1]
    median = np.zeros((len(CATEGORIES), n_days))
    activity = np.zeros((len(CATEGORIES), n_days))
    for code in np.unique(categories):
        members = z[categories == code]
        enough = (~np.isnan(members)).sum(axis=0) >= 3
        if enough.any():
            median[code, enough] = np.nanmedian(members[:, enough], axis=0)
            activity[code, enough] = np.log(np.nanmean(np.abs(members[:, enough]), axis=0) + 0.1)
    week = sum(lagged(median, lag, n_out) for lag in range(7))
    return np.stack([lagged(median, 0, n_out), np.asarray(week), lagged(activity, 0, n_out)], axis=2)
