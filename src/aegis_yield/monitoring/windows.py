"""Trailing means, medians and runs over days, by row; missing days are left out."""

from __future__ import annotations

import numpy as np

from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray


def trailing_mean(values: FloatArray, days: int) -> FloatArray:
    """Return the mean of the known values of the ``days`` days that end with each column; NaN under half known."""
    known = ~np.isnan(values)
    total = _trailing(np.where(known, values, 0.0), days)
    count = _trailing(known.astype(float), days)
    return np.where(count >= (days + 1) // 2, total / np.maximum(count, 1.0), np.nan)


def delayed(values: FloatArray, days: int) -> FloatArray:
    """Return each row ``days`` columns later, NaN before."""
    return np.pad(values, ((0, 0), (days, 0)), constant_values=np.nan)[:, : values.shape[1]]


def trailing_median(values: FloatArray, days: int) -> FloatArray:
    """Return the median of the known values of the last ``days`` days; NaN under half known."""
    padded = np.pad(values, ((0, 0), (days - 1, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, days, axis=1)
    ordered = np.sort(windows, axis=2)  # NaN goes last
    count = (~np.isnan(windows)).sum(axis=2)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    pick = [np.take_along_axis(ordered, place[:, :, None], axis=2)[:, :, 0] for place in (low, high)]
    return np.where(count >= (days + 1) // 2, (pick[0] + pick[1]) / 2, np.nan)


def runs_of_equals(values: FloatArray) -> IntArray:
    """Return how many days in a row, up to each column, the value has not changed; 0 where it did or is unknown."""
    same = np.zeros(values.shape, dtype=bool)
    same[:, 1:] = values[:, 1:] == values[:, :-1]
    return run_lengths(same)


def run_lengths(holds: BoolArray) -> IntArray:
    """Return the number of consecutive true values up to each column."""
    position = np.arange(1, holds.shape[1] + 1)
    last_break = np.maximum.accumulate(np.where(holds, 0, position), axis=1)
    return np.asarray(np.where(holds, position - last_break, 0))


def _trailing(values: FloatArray, days: int) -> FloatArray:
    total = np.cumsum(np.pad(values, ((0, 0), (days, 0))), axis=1)
    return np.asarray(total[:, days:] - total[:, :-days])
