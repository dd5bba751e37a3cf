"""How much a training example counts: as much as its strategy's own errors are small.

Scores are geometric means over strategies of each one's mean loss, and the gradient of the logarithm of a mean
is the gradient over the mean: a strategy whose loss is ten times another's counts a tenth for each unit of it.
Left equal, the few that jump would decide for all that creep. The mean loss of a strategy is not known before
training, so that of a plain forecast stands in for it: the rate moves as much as its local scale says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.volatility_recipe import bounded_qlike, log_size
from aegis_yield.preprocessing.windows import WindowSet, mean_square_change
from aegis_yield.utils.typing import FloatArray, IntArray

HORIZONS: Final = (1, 3, 7, 14, 30)
"""Losses grow with the horizon; those of others are taken from the nearest of these in ratio."""

PRIOR_ROWS: Final = 50.0
"""A strategy's mean loss is drawn to its category's as if it had so many rows of it."""

LEAST_LOSS: Final = 1e-3
"""A mean loss is taken to be at least this: a strategy without a surprise must not count without bound."""

LEAST_ROWS: Final = 150
"""A strategy with fewer rows than this counts in proportion to them, others all alike."""


@dataclass(frozen=True)
class LossWeights:
    """The weight of each strategy and horizon in the loss of each output.

    Attributes
    ----------
    table : ndarray of shape (n_strategies, MAX_HORIZON_DAYS, 2)
        One over the strategy's mean loss; for the numbers of their rows, strategies count alike.
    """

    table: FloatArray

    def of(self, strategy: IntArray, horizon_days: IntArray) -> FloatArray:
        """Return the weights of rows, shape (n, 2)."""
        return np.asarray(self.table[strategy, horizon_days - 1])

    @classmethod
    def fit(cls, data: WindowSet, rows: IntArray, limit: IntArray) -> LossWeights:
        """Measure the plain forecast on training rows.

        Parameters
        ----------
        data : WindowSet
            Rates and scales.
        rows, limit : ndarray of int, shape (n,)
            Training origins and the longest horizon of which each may see the outcome.
        """
        n_strategies = int(data.strategy.max()) + 1
        count = np.bincount(data.strategy[rows], minlength=n_strategies)
        alike = 1.0 / np.maximum(count, LEAST_ROWS)
        alike = alike / alike[data.strategy[rows]].mean()
        table = np.stack([_inverse_losses(data, rows[limit >= h], h, n_strategies) for h in HORIZONS], axis=1)
        ahead = np.arange(1, MAX_HORIZON_DAYS + 1)
        nearest = np.abs(np.log(ahead[:, None] / np.asarray(HORIZONS))).argmin(axis=1)
        return cls(alike[:, None, None] * table[:, nearest])


def _inverse_losses(data: WindowSet, rows: IntArray, horizon_days: int, n_strategies: int) -> FloatArray:
    """Return one over each strategy's mean losses at a horizon, shape (n_strategies, 2); 1 where none is known."""
    if not len(rows):
        return np.ones((n_strategies, 2))
    square = mean_square_change(data.futures()[rows], np.full(len(rows), horizon_days))
    gap = log_size(np.sqrt(DAYS_PER_YEAR * square), data.scale[rows])
    losses = np.stack([np.abs(gap), bounded_qlike(gap)], axis=1)
    own = _sums(losses, data.strategy[rows], n_strategies)
    n_own = np.bincount(data.strategy[rows], minlength=n_strategies)[:, None]
    prior = _category_means(losses, data, rows, n_strategies)
    mean = (own + PRIOR_ROWS * prior) / (n_own + PRIOR_ROWS)
    return np.asarray(1.0 / np.maximum(mean, LEAST_LOSS))


def _category_means(losses: FloatArray, data: WindowSet, rows: IntArray, n_strategies: int) -> FloatArray:
    """Return the mean losses of each strategy's category, of all rows where it has none, (n_strategies, 2)."""
    category_of = np.zeros(n_strategies, dtype=np.int64)
    category_of[data.strategy] = data.category
    n_categories = int(data.category.max()) + 1
    count = np.bincount(data.category[rows], minlength=n_categories)[:, None]
    total = _sums(losses, data.category[rows], n_categories)
    overall = np.broadcast_to(losses.mean(axis=0), total.shape)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), overall)[category_of])


def _sums(losses: FloatArray, code: IntArray, n_codes: int) -> FloatArray:
    columns = [np.bincount(code, weights=column, minlength=n_codes) for column in losses.T]
    return np.stack(columns, axis=1)
