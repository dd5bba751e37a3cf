"""A strategy's own record: how large the errors of its past forecasts were, against what the forecasts said.

A category's errors are not spread evenly. Some of its strategies surprise week after week, others never; stretching
all of them alike widens the intervals of the calm for the sake of the wild. Each strategy therefore leaves a record,
the mean of its absolute errors in spreads (their expectation is one where Laplace's spread was right), and its
distances from the median are stretched by it, drawn to one as the mean of few things must be::

    factor = (prior + sum of weight * error) / (prior + sum of weight)

Outcomes that overlap are nearly the same outcome: those of one strategy and horizon that became known within
one horizon's length count as one. A single jump counts as :data:`MAX_ERROR`: it is an event, no habit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from aegis_yield.models.quantile_functions import laplace_quantiles
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

MAX_ERROR: Final = 5.0
"""In spreads, of one forecast in a record."""

_TAILS: Final = (0.05, 0.10, 0.90, 0.95)
"""The spread of a forecast is read off its distances at these levels: the interval that people look at."""

_LEAST_RATIO: Final = 1e-9
_MOST_HORIZONS: Final = 2**8
_MOST_PERIODS: Final = 2**32


@lru_cache(maxsize=65_536)
def _code(strategy_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(strategy_id.encode(), digest_size=8).digest(), "big", signed=True)


def strategy_codes(strategy_ids: np.ndarray) -> IntArray:
    """Return a number for each id, the same in every dataset and bundle, int64, shape (n,).

    Eight bytes of BLAKE2b: among a million strategies the odds that any two share one are one in 40 million.
    """
    return np.array([_code(str(name)) for name in strategy_ids], dtype=np.int64)


def error_in_spreads(ratio: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return absolute errors in spreads of Laplace's distribution, shape (n,).

    Parameters
    ----------
    ratio : ndarray of shape (n, n_levels)
        Error over the distance of each quantile from the median.
    levels : sequence of float
        Their levels. The spread is the geometric mean of those that the distances in the tails would have in
        Laplace's distribution.
    """
    tails = [place for place, level in enumerate(levels) if level in _TAILS]
    unit = np.abs(laplace_quantiles(np.array(levels)[tails]))
    found = np.maximum(np.abs(ratio[:, tails].astype(float)) * unit, _LEAST_RATIO)
    return np.asarray(np.exp(np.log(found).mean(axis=1)))


@dataclass(frozen=True)
class OwnRecords:
    """Errors of n past forecasts, and whose they were.

    Attributes
    ----------
    error : ndarray of shape (n,)
        Absolute, in spreads, at most :data:`MAX_ERROR`.
    codes : ndarray of int64, shape (n_strategies,)
        Rising.
    strategy : ndarray of int, shape (n,)
        Positions in ``codes``.
    period : ndarray of int, shape (n,)
        Forecasts with the same number count as one.
    """

    error: FloatArray
    codes: IntArray
    strategy: IntArray
    period: IntArray

    @classmethod
    def of(cls, error: FloatArray, code: IntArray, known_day: IntArray, horizon_days: IntArray) -> OwnRecords:
        """Sort errors by strategy and by the stretch of days, a horizon long, in which each became known."""
        codes, strategy = np.unique(code, return_inverse=True)
        horizon = horizon_days.astype(np.int64)
        key = (strategy * _MOST_HORIZONS + horizon) * _MOST_PERIODS + known_day.astype(np.int64) // horizon
        return cls(np.minimum(error, MAX_ERROR), codes, strategy, np.unique(key, return_inverse=True)[1])

    def factors(self, code: IntArray, known: BoolArray, weight: FloatArray, prior: float) -> FloatArray:
        """Return by what each strategy's record stretches its distances.

        Parameters
        ----------
        code : ndarray of int64, shape (m,)
            Strategies asked for; of one without a record the factor is one.
        known : ndarray of bool, shape (n,)
            Which errors count.
        weight : ndarray of shape (n_known,)
            How much each of those counts.
        prior : float
            Weight of an error of one spread beside them.

        Returns
        -------
        ndarray of shape (m,)
        """
        if not len(self.codes):
            return np.ones(len(code))
        strategy, period = self.strategy[known], self.period[known]
        share = weight / np.bincount(period)[period]
        total = np.bincount(strategy, share * self.error[known], minlength=len(self.codes))
        count = np.bincount(strategy, share, minlength=len(self.codes))
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        factor = (prior + total[place]) / (prior + count[place])
        return np.where(self.codes[place] == code, factor, 1.0)
