"""Calibration: from a location and a scale to quantiles that keep their promise, adapting as it goes.

Every past forecast leaves a score ``z = (actual - location) / scale``. A forecast's quantile at level p is
``location + scale · Q(p)``, with Q the weighted empirical quantile of the scores of the same category and
a similar horizon: normalised split conformal prediction, with weights that fade with age (Barber et al.
2023, "Conformal prediction beyond exchangeability") so that it follows a changing market. A score enters
the pool only when its outcome is known, ``horizon`` days after its origin. Categories with few scores
borrow from all others; strategies never seen inherit their category's scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES, NEVER_NEGATIVE
from aegis_yield.domain.forecast import ForecastKeys, Forecasts
from aegis_yield.domain.targets import GROWTH_FLOOR
from aegis_yield.utils.typing import FloatArray, IntArray

HORIZON_GRID: Final[tuple[int, ...]] = (1, 3, 7, 14, 30)
"""Horizons at which fitting leaves scores."""

HORIZON_BANDWIDTH: Final = 0.25
"""A score counts for horizons near its own: weight of a normal curve in log horizon."""

SCORE_HALFLIFE_DAYS: Final = 45.0
BORROWED_WEIGHT: Final = 30.0
"""All categories together weigh as much as this many fresh scores of the category itself."""

MAX_ABS_SCORE: Final = 1e4


@dataclass(frozen=True)
class LocationScale:
    """What a model says before calibration, for n strategy-origin pairs at one horizon.

    Attributes
    ----------
    location : ndarray of shape (n,)
        Point forecast of ``apy``.
    scale : ndarray of shape (n,)
        Positive spread of ``apy`` around it, in the same unit, up to calibration.
    volatility : ndarray of shape (n,)
        Annualised normal volatility of the rate.
    """

    location: FloatArray
    scale: FloatArray
    volatility: FloatArray


@dataclass(frozen=True)
class ScorePool:
    """Scores of past forecasts whose outcomes are known.

    Attributes
    ----------
    score : ndarray of float32, shape (n,)
        ``(actual - location) / scale``.
    category, horizon_days, known_day : ndarray of int, shape (n,)
        Category code, horizon, and day number on which the outcome was known (origin + horizon).
    """

    score: FloatArray
    category: IntArray
    horizon_days: IntArray
    known_day: IntArray

    @classmethod
    def empty(cls) -> ScorePool:
        """Return a pool without scores."""
        none = np.empty(0, dtype=np.int32)
        return cls(np.empty(0, dtype=np.float32), none, none, none)

    def __len__(self) -> int:
        return len(self.score)

    def extended(self, other: ScorePool) -> ScorePool:
        """Return both pools as one."""
        names = ("score", "category", "horizon_days", "known_day")
        return ScorePool(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def where(self, mask: np.ndarray) -> ScorePool:
        """Return the scores for which ``mask`` holds."""
        return ScorePool(self.score[mask], self.category[mask], self.horizon_days[mask], self.known_day[mask])


def scores_of(raw: LocationScale, keys: ForecastKeys, actual: FloatArray, horizon_days: int) -> ScorePool:
    """Score forecasts against what happened.

    Parameters
    ----------
    raw : LocationScale
        n forecasts at one horizon.
    keys : ForecastKeys
        Their strategies and origins.
    actual : ndarray of shape (n,)
        Realised ``apy``; forecasts with NaN leave no score.
    horizon_days : int
        Their horizon.
    """
    known = np.isfinite(actual)
    z = np.clip((actual - raw.location) / raw.scale, -MAX_ABS_SCORE, MAX_ABS_SCORE)[known]
    day = keys.origin.astype("datetime64[D]").astype(np.int64)[known] + horizon_days
    return ScorePool(
        score=z.astype(np.float32),
        category=keys.category[known].astype(np.int32),
        horizon_days=np.full(int(known.sum()), horizon_days, dtype=np.int32),
        known_day=day.astype(np.int32),
    )


@dataclass(frozen=True)
class Calibrator:
    """Turns locations and scales into quantiles with the scores known on a day.

    Attributes
    ----------
    pool : ScorePool
        All scores so far, any horizon of :data:`HORIZON_GRID` or other.
    halflife_days : float
        Age at which a score counts half.
    """

    pool: ScorePool
    halflife_days: float = SCORE_HALFLIFE_DAYS

    def updated(self, new: ScorePool) -> Calibrator:
        """Return a calibrator that also knows these scores."""
        return replace(self, pool=self.pool.extended(new)) if len(new) else self

    def forecasts(
        self, raw: LocationScale, keys: ForecastKeys, horizon_days: int, levels: tuple[float, ...]
    ) -> Forecasts:
        """Calibrate forecasts made at one origin.

        Parameters
        ----------
        raw : LocationScale
            n forecasts.
        keys : ForecastKeys
            Their strategies, one common origin, and categories.
        horizon_days : int
            Their horizon.
        levels : tuple of float
            Quantile levels wanted, rising.

        Returns
        -------
        Forecasts
            Quantiles never cross; those of categories that cannot pay less than nothing are not
            below zero.
        """
        z = np.zeros((len(CATEGORIES), len(levels)))
        today = int(keys.origin.max().astype("datetime64[D]").astype(np.int64)) if len(keys) else 0
        for code in np.unique(keys.category):
            z[code] = self._score_quantiles(int(code), horizon_days, today, np.asarray(levels))
        quantiles = raw.location[:, None] + raw.scale[:, None] * z[keys.category]
        floor = least_apy(keys.category)
        return Forecasts(
            keys=keys,
            horizon_days=horizon_days,
            levels=levels,
            apy=np.maximum(raw.location, floor),
            volatility=raw.volatility,
            quantiles=np.maximum(np.maximum.accumulate(quantiles, axis=1), floor[:, None]),
        )

    def _score_quantiles(self, category: int, horizon_days: int, today: int, levels: FloatArray) -> FloatArray:
        pool = self.pool.where(self.pool.known_day <= today)
        if not len(pool):
            return laplace_quantiles(levels)
        age = (today - pool.known_day) / self.halflife_days
        distance = np.log(pool.horizon_days / horizon_days) / HORIZON_BANDWIDTH
        log_weight = -np.log(2.0) * age - 0.5 * distance**2
        # Relative to the best score there is: after a long silence, or far from every kept horizon,
        # the nearest known shape still stands.
        weight = np.exp(log_weight - log_weight.max())
        own = pool.category == category
        weight = weight * (own + BORROWED_WEIGHT / weight.sum())
        return weighted_quantiles(pool.score.astype(float), weight, levels)


def weighted_quantiles(values: FloatArray, weights: FloatArray, levels: FloatArray) -> FloatArray:
    """Return quantiles of a weighted sample, interpolated between mid-points of the weight steps.

    Parameters
    ----------
    values, weights : ndarray of shape (n,)
        Sample and positive weights.
    levels : ndarray of shape (k,)
        Levels in [0, 1].

    Returns
    -------
    ndarray of shape (k,)
        Never falling in the level. With equal weights this is Hazen's rule (numpy's
        ``method="hazen"``).
    """
    order = np.argsort(values, kind="stable")
    ordered, mass = values[order], weights[order]
    middle = np.cumsum(mass) - mass / 2
    return np.asarray(np.interp(levels, middle / mass.sum(), ordered))


def laplace_quantiles(levels: FloatArray) -> FloatArray:
    """Return quantiles of the standard Laplace distribution: what the network's loss assumes."""
    p = np.asarray(levels)
    return np.where(p < 0.5, np.log(2 * p), -np.log(2 * (1 - p)))


def least_apy(category: IntArray) -> FloatArray:
    """Return the lowest possible ``apy`` of each row's category, shape (n,)."""
    lowest = [0.0 if name in NEVER_NEGATIVE else GROWTH_FLOOR - 1.0 for name in CATEGORIES]
    return np.asarray(lowest)[category]
