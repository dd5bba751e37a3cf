"""Features of a strategy's own history: its window, technical indicators, size, use and age.

Levels, gaps and changes of the rate are measured in units of its local scale, so that a pool which
moves by a basis point a month and one that moves by a thousand percent a day speak the same language,
and a strategy that was never seen in training needs no statistics of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.preprocessing.features.context import FeatureContext
from aegis_yield.preprocessing.rolling import (
    decay_weights,
    lagged,
    masked_mean,
    masked_std,
    trailing_extreme,
    trailing_median,
    trailing_sum,
)
from aegis_yield.utils.typing import FloatArray

TINY: Final = 1e-12


@dataclass(frozen=True)
class Feature:
    """One input channel of the network.

    Attributes
    ----------
    name : str
        Column name; part of a bundle's contract.
    group : str
        Which of the promised input groups it belongs to.
    meaning : str
        What it says, in words, with its unit.
    compute : callable
        FeatureContext to array of shape (n_strategies, n_out); NaN where unknown.
    """

    name: str
    group: str
    meaning: str
    compute: Callable[[FeatureContext], FloatArray]


def _in_scales(c: FeatureContext, gap: FloatArray) -> FloatArray:
    # asinh: linear for gaps of a few scales, logarithmic beyond, so that a spike neither saturates a
    # clip nor drowns everything else.
    return np.arcsinh(gap / c.scale)


def _gap_to_mean(window: int) -> Callable[[FeatureContext], FloatArray]:
    return lambda c: _in_scales(c, c.now - c.mean(window))


def _gap_to_ewma(halflife_days: float, window: int) -> Callable[[FeatureContext], FloatArray]:
    return lambda c: _in_scales(c, c.now - c.ewma(halflife_days, window))


def _momentum(days: int) -> Callable[[FeatureContext], FloatArray]:
    return lambda c: _in_scales(c, c.change("apy", days))


def _gap_to_median(c: FeatureContext) -> FloatArray:
    return _in_scales(c, c.now - trailing_median(c.apy, 7, c.n_out))


def _gap_to_extremes(c: FeatureContext, window: int) -> tuple[FloatArray, FloatArray]:
    low, high = trailing_extreme(c.apy, window, c.n_out)
    return _in_scales(c, c.now - low), _in_scales(c, high - c.now)


def _position_in_range(c: FeatureContext) -> FloatArray:
    low, high = trailing_extreme(c.apy, 28, c.n_out)
    width = high - low
    return np.where(width > TINY, (c.now - low) / np.maximum(width, TINY) - 0.5, 0.0)


def _volatility_ratio(window: int) -> Callable[[FeatureContext], FloatArray]:
    def compute(c: FeatureContext) -> FloatArray:
        typical = masked_mean(np.abs(c.step), c.moved, np.ones(window), c.n_out)
        return np.log((typical + 0.05 * c.scale) / c.scale)

    return compute


def _tail_weight(c: FeatureContext) -> FloatArray:
    rms = np.sqrt(masked_mean(c.step**2, c.moved, np.ones(60), c.n_out))
    typical = masked_mean(np.abs(c.step), c.moved, np.ones(60), c.n_out)
    return np.asarray(np.log((rms + 0.05 * c.scale) / (typical + 0.05 * c.scale)))


def _zscore(c: FeatureContext) -> FloatArray:
    std = masked_std(c.apy, ~np.isnan(c.apy), 28, c.n_out)
    return (c.now - c.mean(28)) / np.maximum(std, c.scale)


def _rsi(c: FeatureContext) -> FloatArray:
    weights = decay_weights(7.0, 28)
    gain = masked_mean(np.maximum(c.step, 0.0), c.moved, weights, c.n_out)
    move = masked_mean(np.abs(c.step), c.moved, weights, c.n_out)
    return np.where(move > TINY, gain / np.maximum(move, TINY) - 0.5, 0.0)


def _autocorrelation(c: FeatureContext) -> FloatArray:
    pair = c.moved[:, 1:] & c.moved[:, :-1]
    product = np.where(pair, c.step[:, 1:] * c.step[:, :-1], 0.0)
    square = np.where(pair, c.step[:, 1:] ** 2 + c.step[:, :-1] ** 2, 0.0) / 2
    total = trailing_sum(square, 28, c.n_out)
    return np.where(total > TINY**2, trailing_sum(product, 28, c.n_out) / np.maximum(total, TINY**2), 0.0)


def _zero_share(c: FeatureContext) -> FloatArray:
    still = (np.abs(c.step) <= TINY).astype(float)
    return masked_mean(still, c.moved, np.ones(28), c.n_out)


def _weekly_error(c: FeatureContext, window: int) -> FloatArray:
    """Return how far "the next week is like today" was off lately, in apy units."""
    reach = c.n_out + window
    week = trailing_sum(c.apy, 7, reach) / 7
    error = np.abs(week - lagged(c.apy, 7, reach))
    known = ~np.isnan(error)
    return masked_mean(np.nan_to_num(error), known, np.ones(window), c.n_out)


def _persistence(c: FeatureContext) -> FloatArray:
    return np.log((_weekly_error(c, 42) + 0.05 * c.scale) / c.scale)


def _last_week_surprise(c: FeatureContext) -> FloatArray:
    return _in_scales(c, trailing_sum(c.apy, 7, c.n_out) / 7 - lagged(c.apy, 7, c.n_out))


def _reward_share(c: FeatureContext) -> FloatArray:
    reward = lagged(c.filled("apy_reward"), 0, c.n_out)
    return np.asarray(np.clip(reward / np.maximum(np.abs(c.now), 1e-6), 0.0, 1.5))


def _log_change(name: str, days: int) -> Callable[[FeatureContext], FloatArray]:
    def compute(c: FeatureContext) -> FloatArray:
        x: FloatArray = np.log(np.maximum(c.filled(name), 1.0))
        return lagged(x, 0, c.n_out) - lagged(x, days, c.n_out)

    return compute


def _log_tvl(c: FeatureContext) -> FloatArray:
    return np.asarray(np.log10(np.maximum(lagged(c.filled("tvl_usd"), 0, c.n_out), 1.0)) - 6.0)


def _utilization(c: FeatureContext) -> FloatArray:
    return np.clip(lagged(c.filled("utilization"), 0, c.n_out), 0.0, 1.5)


def _kink_steepness(c: FeatureContext) -> FloatArray:
    """Return how much faster the borrow rate moved than utilisation: high on the steep side of a kink."""
    borrow = np.clip(c.filled("borrow_apy"), 0.0, 10.0)
    rate = np.abs(lagged(borrow, 0, c.n_out) - lagged(borrow, 7, c.n_out))
    use = np.abs(c.change("utilization", 7))
    return np.asarray(np.log1p(np.clip(rate / np.maximum(use, 1e-3), 0.0, 100.0)))


def _known(name: str) -> Callable[[FeatureContext], FloatArray]:
    return lambda c: (~np.isnan(lagged(c.filled(name), 0, c.n_out))).astype(float)


OWN_FEATURES: Final[tuple[Feature, ...]] = (
    Feature("apy_step", "apy window", "change of the day, in local scales (asinh)", lambda c: _in_scales(c, lagged(c.step, 0, c.n_out))),
    Feature("apy_level", "apy window", "asinh(apy / 0.05): the level, logarithmic when high", lambda c: np.arcsinh(c.now / 0.05)),
    Feature("scale_to_level", "apy window", "log of local scale over level", lambda c: np.log(c.scale / (np.abs(c.now) + c.scale))),
    Feature("log_scale", "apy window", "log10 of the local scale, 0 at 0.1 % a day", lambda c: np.log10(c.scale) + 3.0),
    Feature("gap_ewma_2", "moving averages", "apy less its EWMA (half-life 2 days), in local scales (asinh)", _gap_to_ewma(2.0, 14)),
    Feature("gap_ewma_5", "moving averages", "apy less its EWMA (half-life 5 days), in local scales (asinh)", _gap_to_ewma(5.0, 28)),
    Feature("gap_median_7", "moving averages", "apy less its 7-day median, in local scales (asinh)", _gap_to_median),
    Feature("gap_mean_7", "moving averages", "apy less its 7-day mean, in local scales (asinh)", _gap_to_mean(7)),
    Feature("gap_mean_28", "moving averages", "apy less its 28-day mean, in local scales (asinh)", _gap_to_mean(28)),
    Feature("gap_mean_90", "moving averages", "apy less its 90-day mean, in local scales (asinh)", _gap_to_mean(90)),
    Feature("gap_min_28", "distance", "apy less its 28-day minimum, in local scales (asinh)", lambda c: _gap_to_extremes(c, 28)[0]),
    Feature("gap_max_28", "distance", "28-day maximum less apy, in local scales (asinh)", lambda c: _gap_to_extremes(c, 28)[1]),
    Feature("position_28", "oscillator", "place within the 28-day range, -0.5 … 0.5", _position_in_range),
    Feature("momentum_3", "momentum", "change over 3 days, in local scales (asinh)", _momentum(3)),
    Feature("momentum_7", "momentum", "change over 7 days, in local scales (asinh)", _momentum(7)),
    Feature("momentum_28", "momentum", "change over 28 days, in local scales (asinh)", _momentum(28)),
    Feature("volatility_ratio_5", "rolling volatility", "log of 5-day over local scale", _volatility_ratio(5)),
    Feature("volatility_ratio_90", "rolling volatility", "log of 90-day over local scale", _volatility_ratio(90)),
    Feature("tail_weight", "rolling volatility", "log of rms over mean absolute change, 60 days", _tail_weight),
    Feature("zscore_28", "oscillator", "distance from the 28-day mean in its standard deviations", _zscore),
    Feature("rsi", "oscillator", "share of gains in recent moves less one half", _rsi),
    Feature("autocorrelation_28", "oscillator", "lag-1 autocorrelation of daily changes, 28 days", _autocorrelation),
    Feature("zero_share_28", "oscillator", "share of the last 28 days without any change", _zero_share),
    Feature("persistence", "rolling volatility", "log of last weeks' naive weekly error over local scale", _persistence),
    Feature("week_surprise", "momentum", "last 7 days' mean less the apy before them, in local scales (asinh)", _last_week_surprise),
    Feature("reward_share", "apy window", "reward part of the apy, 0 … 1.5", _reward_share),
    Feature("reward_known", "mask", "1 where the reward part is known", _known("apy_reward")),
    Feature("tvl_log", "protocol tvl", "log10 of tvl in million US dollars", _log_tvl),
    Feature("tvl_change_1", "protocol tvl", "log change of tvl over 1 day", _log_change("tvl_usd", 1)),
    Feature("tvl_change_7", "protocol tvl", "log change of tvl over 7 days", _log_change("tvl_usd", 7)),
    Feature("tvl_known", "mask", "1 where tvl is known", _known("tvl_usd")),
    Feature("utilization", "utilisation", "borrowed share of the pool, 0 … 1.5", _utilization),
    Feature("utilization_change_7", "utilisation", "change of utilisation over 7 days", lambda c: c.change("utilization", 7)),
    Feature("kink_steepness", "utilisation", "log of borrow-rate move over utilisation move, 7 days", _kink_steepness),
    Feature("utilization_known", "mask", "1 where utilisation is known", _known("utilization")),
    Feature("age", "calendar", "log of days since the first row, 1 at a year", lambda c: np.log1p(np.clip(c.age_days, 0, 365)) / np.log1p(365)),
    Feature("staleness", "calendar", "log of days since the last row", lambda c: np.log1p(c.staleness_days.astype(float))),
    Feature("outlier", "mask", "1 where the row is flagged as an outlier", lambda c: np.nan_to_num(lagged(c.series["is_outlier"], 0, c.n_out))),
)  # fmt: skip
"""Every feature of a strategy's own history, in the order of the network's channels."""
