"""Rolling conformalised quantiles: every level is shifted by what it missed lately, from known outcomes only.

A forecast's quantile at level p becomes ``q_p + scale * c_p``, with ``c_p`` the weighted p-quantile of the past
scores ``(actual - q_p) / scale`` of the same category (conformalised quantile regression, Romano et al. 2019, one side
at a time; weights that fade with age, Barber et al. 2023). A score counts from the day its outcome is known. With all
quantiles equal to one location this is normalised split conformal prediction, so that point forecasters use it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aegis_yield.utils.typing import FloatArray, IntArray

HALFLIFE_DAYS: Final = 45.0
BORROWED_WEIGHT: Final = 30.0
"""All categories together weigh as much as this many fresh scores of the category itself."""

LARGEST_SCORE: Final = 1e4


@dataclass(frozen=True)
class Scores:
    """What quantiles missed, for n past forecasts.

    Attributes
    ----------
    miss : ndarray of shape (n, n_levels)
        ``(actual - quantile) / scale``.
    category, known_day : ndarray of int, shape (n,)
        Category code and the day number on which the outcome was known.
    """

    miss: FloatArray
    category: IntArray
    known_day: IntArray

    @classmethod
    def of(
        cls, quantiles: FloatArray, scale: FloatArray, actual: FloatArray, rows: tuple[IntArray, IntArray]
    ) -> Scores:
        """Score quantiles against outcomes; ``rows`` are category and known day, forecasts with NaN leave no score."""
        known = np.isfinite(actual)
        miss = (actual[known, None] - quantiles[known]) / scale[known, None]
        category, day = rows
        return cls(np.clip(miss, -LARGEST_SCORE, LARGEST_SCORE), category[known], day[known])


@dataclass
class RollingCqr:
    """A growing pool of scores and the corrections it gives on a day.

    Attributes
    ----------
    levels : ndarray of shape (n_levels,)
        Rising quantile levels.
    halflife_days : float
        Age at which a score counts half.
    """

    levels: FloatArray
    halflife_days: float = HALFLIFE_DAYS
    _parts: list[Scores] = field(default_factory=list, repr=False)

    def add(self, scores: Scores) -> None:
        """Take in scores; they count from the day their outcome is known."""
        self._parts.append(scores)

    def corrections(self, today: int, categories: IntArray) -> dict[int, FloatArray]:
        """Return the shift of every level, in scales, for each category code; zero without any score.

        Parameters
        ----------
        today : int
            Day number of the origin: outcomes known later do not count.
        categories : ndarray of int
            Category codes wanted.
        """
        miss = np.concatenate([part.miss for part in self._parts] or [np.empty((0, len(self.levels)))])
        category = np.concatenate([part.category for part in self._parts] or [np.empty(0, dtype=np.int64)])
        day = np.concatenate([part.known_day for part in self._parts] or [np.empty(0, dtype=np.int64)])
        known = day <= today
        miss, category, day = miss[known], category[known], day[known]
        if not len(day):
            return {int(code): np.zeros(len(self.levels)) for code in np.unique(categories)}
        weight = 0.5 ** ((today - day) / self.halflife_days)
        weight = weight / weight.max()
        shared = BORROWED_WEIGHT / weight.sum()
        table = {}
        for code in np.unique(categories):
            own = weight * ((category == code) + shared)
            each = zip(miss.T, self.levels, strict=True)
            table[int(code)] = np.array([weighted_quantiles(m, own, np.array([level]))[0] for m, level in each])
        return table

    def calibrated(self, quantiles: FloatArray, scale: FloatArray, category: IntArray, today: int) -> FloatArray:
        """Return corrected quantiles of shape (n, n_levels), never falling along a row."""
        table = self.corrections(today, category)
        shift = np.array([table[int(code)] for code in category]).reshape(len(category), len(self.levels))
        return np.asarray(np.maximum.accumulate(quantiles + scale[:, None] * shift, axis=1))


def weighted_quantiles(values: FloatArray, weights: FloatArray, levels: FloatArray) -> FloatArray:
    """Return quantiles of a weighted sample, interpolated between mid-points of the weight steps.

    With equal weights this is Hazen's rule (numpy's ``method="hazen"``). The race has its own, so that a peer
    does not change with the project's calibration.
    """
    order = np.argsort(values, kind="stable")
    ordered, mass = values[order], weights[order]
    middle = np.cumsum(mass) - mass / 2
    return np.asarray(np.interp(levels, middle / mass.sum(), ordered))
