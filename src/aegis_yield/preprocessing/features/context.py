"""What features are computed from: one block of strategies, its history, and quantities they share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from aegis_yield.preprocessing.panel import Panel
from aegis_yield.preprocessing.rolling import decay_weights, fill_forward, lagged, masked_mean
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

LOOKBACK_DAYS: Final = 128
"""No feature of day D depends on a row older than this, except through a strategy's birth date."""

FILL_LIMIT_DAYS: Final = 30
"""A value is carried over a gap for this long, then it counts as unknown."""

SCALE_HALFLIFE_DAYS: Final = 14.0
SCALE_WINDOW_DAYS: Final = 60
RELATIVE_SCALE_FLOOR: Final = 0.002
ABSOLUTE_SCALE_FLOOR: Final = 2e-6
"""A rate's own resolution: moves below these are noise of rounding, not information."""


@dataclass(frozen=True)
class FeatureContext:
    """A block of strategies over ``n_out`` days, with the history before them.

    Attributes
    ----------
    series : dict of str to ndarray of shape (n_strategies, n_history + n_out)
        Raw daily series; NaN where unknown.
    age_days : ndarray of shape (n_strategies, n_out)
        Days since a strategy's first row in the dataset.
    n_out : int
        Days asked for: the last columns.
    """

    series: dict[str, FloatArray]
    age_days: IntArray
    n_out: int

    @cached_property
    def observed(self) -> BoolArray:
        """Where there is a row, whole block."""
        return ~np.isnan(self.series["apy"])

    @cached_property
    def _filled_and_age(self) -> tuple[FloatArray, IntArray]:
        return fill_limited(self.series["apy"])

    @cached_property
    def apy(self) -> FloatArray:
        """APY carried over short gaps, whole block."""
        return self._filled_and_age[0]

    @cached_property
    def staleness_days(self) -> IntArray:
        """Days since the last row, shape (n_strategies, n_out)."""
        return lagged(self._filled_and_age[1], 0, self.n_out)

    @cached_property
    def step(self) -> FloatArray:
        """Change since the previous row, per square root of the days between; 0 without a new row."""
        x, age = self._filled_and_age
        previous = np.roll(x, 1, axis=1)
        gap = np.roll(age, 1, axis=1) + 1
        change = (x - previous) / np.sqrt(gap)
        change[:, 0] = np.nan
        return np.where(self.moved, change, 0.0)

    @cached_property
    def moved(self) -> BoolArray:
        """Where a change can be told: a row on the day, and one within the fill limit before it."""
        previous = np.roll(self.apy, 1, axis=1)
        previous[:, 0] = np.nan
        return self.observed & ~np.isnan(previous)

    def scale_over(self, n_out: int) -> FloatArray:
        """Return the local scale: a short-memory mean of absolute daily changes, floored.

        Shape (n_strategies, n_out). NaN before a strategy's first row.
        """
        weights = decay_weights(SCALE_HALFLIFE_DAYS, SCALE_WINDOW_DAYS)
        typical = masked_mean(np.abs(self.step), self.moved, weights, n_out)
        level = masked_mean(np.abs(np.nan_to_num(self.apy)), ~np.isnan(self.apy), np.ones(28), n_out)
        floor = np.maximum(RELATIVE_SCALE_FLOOR * level, ABSOLUTE_SCALE_FLOOR)
        return np.asarray(np.fmax(typical, floor))

    @cached_property
    def scale(self) -> FloatArray:
        """The local scale of the days asked for, in apy units."""
        return self.scale_over(self.n_out)

    @cached_property
    def now(self) -> FloatArray:
        """APY of the days asked for, gaps filled."""
        return lagged(self.apy, 0, self.n_out)

    def mean(self, window: int) -> FloatArray:
        """Return the mean APY over ``window`` days, known days only."""
        return masked_mean(np.nan_to_num(self.apy), ~np.isnan(self.apy), np.ones(window), self.n_out)

    def ewma(self, halflife_days: float, window: int) -> FloatArray:
        """Return the exponentially weighted mean APY, cut off after ``window`` days."""
        weights = decay_weights(halflife_days, window)
        return masked_mean(np.nan_to_num(self.apy), ~np.isnan(self.apy), weights, self.n_out)

    def filled(self, name: str) -> FloatArray:
        """Return another series carried over short gaps, whole block."""
        return fill_limited(self.series[name])[0]

    def change(self, name: str, days: int) -> FloatArray:
        """Return how much a filled series changed over ``days``; NaN where unknown."""
        x = self.filled(name)
        return lagged(x, 0, self.n_out) - lagged(x, days, self.n_out)


def fill_limited(x: FloatArray) -> tuple[FloatArray, IntArray]:
    """Carry values forward for at most :data:`FILL_LIMIT_DAYS`; also return their age in days."""
    filled, age = fill_forward(x)
    return np.where(age <= FILL_LIMIT_DAYS, filled, np.nan), np.minimum(age, FILL_LIMIT_DAYS + 1)


def block_context(panel: Panel, strategies: slice, start: int, stop: int) -> FeatureContext:
    """Cut a block of strategies and the columns [start, stop), with history, out of a panel.

    Parameters
    ----------
    panel : Panel
        The whole panel; days before its first column count as unknown.
    strategies : slice
        Rows of the block.
    start, stop : int
        Columns asked for.
    """
    first = start - LOOKBACK_DAYS
    missing = max(0, -first)
    series = {
        name: np.pad(x[strategies, max(0, first) : stop], ((0, 0), (missing, 0)), constant_values=np.nan)
        for name, x in panel.series.items()
    }
    age = panel.age_at_start[strategies, None] + np.arange(start, stop)
    return FeatureContext(series=series, age_days=age, n_out=stop - start)
