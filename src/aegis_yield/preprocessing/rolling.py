"""Trailing-window statistics over the last axis, for all strategies at once, with a finite memory.

Every function takes an array whose last axis is time and returns the statistic for its last
``n_out`` days; the value for a day uses that day and the ``window - 1`` days before it, never a later
one, and never anything older. A finite memory makes a forecast depend on a bounded stretch of history,
so that a trimmed table and a full one give the same features.

Loops run over the window (tens of steps), not over strategies or days: each step is one vectorised
operation on the whole block, which needs no copies of windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray, Scalar


def lagged(x: NDArray[Scalar], lag: int, n_out: int) -> NDArray[Scalar]:
    """Return the last ``n_out`` days of ``x`` shifted ``lag`` days into the past."""
    stop = x.shape[-1] - lag
    return x[..., stop - n_out : stop]


def trailing_sum(x: FloatArray, window: int, n_out: int) -> FloatArray:
    """Return sums over ``window`` days. NaN anywhere in a window makes its sum NaN."""
    total = np.array(lagged(x, 0, n_out), dtype=float)
    for lag in range(1, window):
        total += lagged(x, lag, n_out)
    return total


def trailing_weighted(x: FloatArray, weights: FloatArray, n_out: int) -> FloatArray:
    """Return sums weighted by age in days: ``weights[0]`` is for the day itself."""
    total = np.zeros((*x.shape[:-1], n_out))
    for lag, weight in enumerate(weights):
        total += weight * lagged(x, lag, n_out)
    return total


def masked_mean(x: FloatArray, mask: BoolArray, weights: FloatArray, n_out: int) -> FloatArray:
    """Return age-weighted means over the days where ``mask`` holds.

    Returns
    -------
    ndarray of shape (..., n_out)
        NaN where no day of the window counts.
    """
    total = trailing_weighted(np.where(mask, x, 0.0), weights, n_out)
    weight = trailing_weighted(mask.astype(float), weights, n_out)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def masked_std(x: FloatArray, mask: BoolArray, window: int, n_out: int) -> FloatArray:
    """Return standard deviations around each window's own mean, over days where ``mask`` holds.

    Two passes over the data rather than a difference of squares: a pool that once paid 350,000 %
    must not cost its quiet days their precision.
    """
    mean = masked_mean(x, mask, np.ones(window), n_out)
    total = np.zeros_like(mean)
    count = np.zeros_like(mean)
    for lag in range(window):
        valid = lagged(mask, lag, n_out)
        gap = np.where(valid, lagged(x, lag, n_out) - mean, 0.0)
        total += gap * gap
        count += valid
    return np.sqrt(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def trailing_extreme(x: FloatArray, window: int, n_out: int) -> tuple[FloatArray, FloatArray]:
    """Return the minimum and maximum over ``window`` days, NaN skipped."""
    low = np.array(lagged(x, 0, n_out), dtype=float)
    high = low.copy()
    for lag in range(1, window):
        value = lagged(x, lag, n_out)
        np.fmin(low, value, out=low)
        np.fmax(high, value, out=high)
    return low, high


def trailing_median(x: FloatArray, window: int, n_out: int) -> FloatArray:
    """Return medians over a short ``window``; NaN counts as missing."""
    stacked = np.stack([lagged(x, lag, n_out) for lag in range(window)])
    stacked.sort(axis=0)  # NaN sorts last
    count = window - np.isnan(stacked).sum(axis=0)
    low = np.take_along_axis(stacked, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(stacked, np.minimum(count // 2, window - 1)[None], axis=0)[0]
    return np.where(count > 0, (low + high) / 2, np.nan)


def decay_weights(halflife_days: float, window: int) -> FloatArray:
    """Return exponential weights by age, newest first, cut off after ``window`` days."""
    return np.asarray(0.5 ** (np.arange(window) / halflife_days))


def fill_forward(x: FloatArray) -> tuple[FloatArray, IntArray]:
    """Carry the last known value forward along the last axis.

    Returns
    -------
    filled : ndarray of shape (..., n_days)
        NaN before the first known value.
    age : ndarray of int, shape (..., n_days)
        Days since the value was known; ``n_days`` where it never was.
    """
    n_days = x.shape[-1]
    position = np.where(np.isnan(x), -1, np.arange(n_days))
    last = np.maximum.accumulate(position, axis=-1)
    filled = np.take_along_axis(x, np.maximum(last, 0), axis=-1)
    filled = np.where(last >= 0, filled, np.nan)
    return filled, np.where(last >= 0, np.arange(n_days) - last, n_days)
