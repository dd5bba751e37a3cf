"""Scores of forecasts: pure functions of arrays (DESIGN section 5)."""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

MIN_ORIGINS: Final = 10
MIN_NAIVE_ERROR: Final = 1e-6
"""A strategy is scored with this many origins and a naive error above this."""

MIN_COVERED: Final = 20
"""With fewer outcomes nobody can tell how often a strategy's intervals hold."""

MIN_VOLATILITY: Final = 1e-4
"""Volatilities are compared no finer than one basis point: QLIKE diverges where a rate stood still."""

_LEAST_RATIO: Final = 1e-3


def pinball(actual: FloatArray, quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the pinball loss of every quantile.

    Parameters
    ----------
    actual : ndarray of shape (n,)
    quantiles : ndarray of shape (n, k)
    levels : ndarray of shape (k,)

    Returns
    -------
    ndarray of shape (n, k)
        ``max(p (y - q), (p - 1)(y - q))`` (Koenker & Bassett 1978). NaN where the actual is NaN.
    """
    gap = actual[:, None] - quantiles
    return np.asarray(np.maximum(levels * gap, (levels - 1.0) * gap))


def quantile_crps(actual: FloatArray, quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """Approximate the CRPS by twice the mean pinball loss over the levels, shape (n,)."""
    return np.asarray(2.0 * pinball(actual, quantiles, levels).mean(axis=1))


def laplace_crps(actual: FloatArray, location: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the CRPS of Laplace distributions in closed form (Jordan, Krüger & Lerch 2019), shape (n,)."""
    z = np.abs(actual - location) / scale
    return np.asarray(scale * (z + np.exp(-z) - 0.75))


def winkler(actual: FloatArray, low: FloatArray, high: FloatArray, level: float) -> FloatArray:
    """Return the interval score (Gneiting & Raftery 2007): width plus a penalty for each miss, shape (n,)."""
    penalty = 2.0 / (1.0 - level)
    return np.asarray(high - low + penalty * (np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)))


def qlike(actual: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the QLIKE loss of volatilities (Patton 2011), 0 when perfect, shape (n,)."""
    ratio = (np.maximum(actual, MIN_VOLATILITY) / np.maximum(forecast, MIN_VOLATILITY)) ** 2
    return np.asarray(ratio - np.log(ratio) - 1.0)


def by_strategy(values: FloatArray, strategy: IntArray, n_strategies: int) -> FloatArray:
    """Return the mean of ``values`` for each strategy code, shape (n_strategies,); NaN without rows."""
    count = np.bincount(strategy, minlength=n_strategies)
    total = np.bincount(strategy, weights=values, minlength=n_strategies)
    return np.asarray(np.divide(total, count, out=np.full(n_strategies, np.nan), where=count > 0))


def coverage_by_strategy(inside: BoolArray, strategy: IntArray, n_strategies: int) -> FloatArray:
    """Return the share of each strategy's outcomes inside its intervals, shape (n_strategies,).

    NaN with fewer than :data:`MIN_COVERED` outcomes.
    """
    enough = np.bincount(strategy, minlength=n_strategies) >= MIN_COVERED
    return np.where(enough, by_strategy(inside.astype(float), strategy, n_strategies), np.nan)


def coverage_gap(covered: FloatArray, level: float) -> float:
    """Return how far the strategies' coverages are from the level, in the mean; NaN if none is known."""
    known = covered[~np.isnan(covered)]
    return float(np.abs(known - level).mean()) if len(known) else float("nan")


def scored_strategies(naive_error: FloatArray, strategy: IntArray, n_strategies: int) -> BoolArray:
    """Return which strategies count: enough origins, and a naive error that is not nil, shape (n_strategies,)."""
    count = np.bincount(strategy, minlength=n_strategies)
    naive = np.nan_to_num(by_strategy(naive_error, strategy, n_strategies))
    return np.asarray((count >= MIN_ORIGINS) & (naive > MIN_NAIVE_ERROR))


def relative_scores(loss: FloatArray, naive_loss: FloatArray, strategy: IntArray, n_strategies: int) -> FloatArray:
    """Return each strategy's mean loss over its mean naive loss.

    Parameters
    ----------
    loss, naive_loss : ndarray of shape (n,)
        Of the forecasts and of "tomorrow is like today" on the same rows.
    strategy : ndarray of int, shape (n,)
        Strategy code of each row.
    n_strategies : int
        Number of codes.

    Returns
    -------
    ndarray of shape (n_strategies,)
        At least 0.001, so that one lucky strategy cannot carry a geometric mean; NaN where a
        strategy is not scored.
    """
    own = by_strategy(loss, strategy, n_strategies)
    naive = by_strategy(naive_loss, strategy, n_strategies)
    ratio = np.divide(own, naive, out=np.full(n_strategies, np.nan), where=naive > 0)
    return np.asarray(np.maximum(ratio, _LEAST_RATIO))


def geometric_mean(ratios: FloatArray) -> float:
    """Return the geometric mean of the values that are not NaN; NaN if there are none."""
    known = ratios[~np.isnan(ratios)]
    return float(np.exp(np.log(known).mean())) if len(known) else float("nan")
