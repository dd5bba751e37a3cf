"""Calibration: from a location and a spread to quantiles that keep their promise, adapting as it goes.

A model says where the median is, and how far each quantile lies from it (in the shape of a Laplace distribution, unless
it says otherwise). Every past forecast leaves **ratios**: how far the outcome was from the median, over how far each
quantile was. A quantile's distance is stretched by the factor at which, among past forecasts of the same category and a
similar horizon, the right share of outcomes would have been inside::

    quantile_p = median + distance_p * factor_p ** strength,     factor_p = weighted quantile_p of the ratios

Normalised split conformal prediction, level by level, with weights that fade with age (Barber et al. 2023, "Conformal
prediction beyond exchangeability") so that it follows a changing market. The median stays where it is. A ``strength``
below 1 trusts the model's own shape in part: near the median it knows more of each state than a whole category's
factor says, and stretching every interval for a point of coverage costs more sharpness than it mends.

Most of what a category misses, a few of its strategies miss again and again. So a strategy's **own record** (see
:mod:`aegis_yield.models.own_records`) stretches all its distances alike, beside the factor of its category. Both are
read off the same ratios, as the model left them, and tell in part the same: one more reason for a strength below 1.

A ratio enters the pool only when its outcome is known, ``horizon`` days after its origin. States of a category with few
of them borrow from the category, categories from all others; strategies never seen inherit their category's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES, NEVER_NEGATIVE
from aegis_yield.domain.forecast import QUANTILE_LEVELS, ForecastKeys, Forecasts
from aegis_yield.domain.targets import GROWTH_FLOOR
from aegis_yield.models.own_records import OwnRecords, error_in_spreads, strategy_codes
from aegis_yield.models.quantile_functions import laplace_quantiles, quantiles_between, weighted_quantile
from aegis_yield.utils.typing import FloatArray, IntArray

HORIZON_GRID: Final[tuple[int, ...]] = (1, 3, 7, 14, 30)
"""Horizons at which fitting leaves ratios."""

HORIZON_BANDWIDTH: Final = 0.25
"""A ratio counts for horizons near its own: weight of a normal curve in log horizon."""

HALFLIFE_DAYS: Final = 90.0
BORROWED_WEIGHT: Final = 30.0
"""All categories together weigh as much as this many fresh ratios of the category itself, and the whole category as
much as this many of one of its states."""

STATE_EDGES: Final = (0.0, 0.6)
"""Of the feature ``persistence``: between rates that snap back, that drift, and that stay where a move left them."""

SIDE_LEVELS: Final = tuple(level for level in QUANTILE_LEVELS if level != 0.5)
"""Levels of the quantiles whose distance from the median is stretched."""

MAX_ABS_RATIO: Final = 1e4
FACTOR_RANGE: Final = (0.2, 5.0)
"""A distance is stretched by no more."""

WHOLE_STRENGTH: Final = (1.0,) * len(SIDE_LEVELS)
SHAPED_STRENGTH: Final = (0.225, 0.225, 0.2, 0.1, 0.1, 0.2, 0.225, 0.225)
RECORD_PRIOR: Final = 8.0
"""Both for models with a shape of their own; chosen together on origins 2023-04 … 2024-09."""

LEAST_SHAPE: Final = 1e-3
"""No quantile is nearer to the median than this share of the spread: many rates stand still to the last digit, and an
interval of no width would miss by a millionth."""

NEVER: Final = -(2**31)
"""Day before all days."""

_MEDIAN: Final = QUANTILE_LEVELS.index(0.5)
_SIDE: Final = np.array([level != 0.5 for level in QUANTILE_LEVELS])
_SIGN: Final = np.sign(np.array(SIDE_LEVELS) - 0.5)


@dataclass(frozen=True)
class LocationScale:
    """What a model says before calibration, for n strategy-origin pairs at one horizon.

    Attributes
    ----------
    location : ndarray of shape (n,)
        Point forecast of ``apy``: its median.
    scale : ndarray of shape (n,)
        Positive spread of ``apy`` around it, in the same unit, up to calibration.
    volatility : ndarray of shape (n,)
        Annualised normal volatility of the rate.
    shape : ndarray of shape (n, n_side_levels) or None
        Where the quantiles at :data:`SIDE_LEVELS` lie, in spreads from the median; None for those of Laplace's
        distribution.
    state : ndarray of int, shape (n,), or None
        How persistent each strategy's rate is, see :func:`states_by`; None: all alike.
    """

    location: FloatArray
    scale: FloatArray
    volatility: FloatArray
    shape: FloatArray | None = None
    state: IntArray | None = None

    def states(self) -> IntArray:
        """Return the state of each row, shape (n,)."""
        return np.zeros(len(self.scale), dtype=np.int32) if self.state is None else self.state

    def distances(self) -> FloatArray:
        """Return how far each quantile is from the median, signed, never nil, shape (n, n_side_levels)."""
        sides = np.array(SIDE_LEVELS)
        shape = np.tile(laplace_quantiles(sides), (len(self.scale), 1)) if self.shape is None else self.shape
        apart = _SIGN * np.maximum(_SIGN * shape, LEAST_SHAPE)
        return np.asarray(self.scale[:, None] * _outward(apart))


def _outward(distances: FloatArray) -> FloatArray:
    """Return distances that never shrink from the median outwards."""
    half = len(SIDE_LEVELS) // 2
    low = -np.maximum.accumulate(-distances[:, half - 1 :: -1], axis=1)[:, ::-1]
    high = np.maximum.accumulate(distances[:, half:], axis=1)
    return np.concatenate([low, high], axis=1)


@dataclass(frozen=True)
class ScorePool:
    """Ratios that past forecasts left, whose outcomes are known.

    Attributes
    ----------
    ratio : ndarray of float16, shape (n, n_side_levels)
        ``(actual - median) / distance`` of each quantile; rounded, as bundles keep them.
    category, horizon_days, known_day : ndarray of int, shape (n,)
        Category code, horizon, and day number on which the outcome was known (origin + horizon).
    state : ndarray of int, shape (n,)
        How persistent the strategy's rate was.
    strategy : ndarray of int64, shape (n,)
        Whose forecast it was, see :func:`aegis_yield.models.own_records.strategy_codes`; 0 where nobody knows.
    """

    ratio: FloatArray
    category: IntArray
    horizon_days: IntArray
    known_day: IntArray
    state: IntArray
    strategy: IntArray

    @classmethod
    def empty(cls) -> ScorePool:
        """Return a pool without ratios."""
        none = np.empty(0, dtype=np.int32)
        return cls(np.empty((0, len(SIDE_LEVELS)), dtype=np.float16), none, none, none, none, none.astype(np.int64))

    @classmethod
    def of_scores(cls, score: FloatArray, category: IntArray, horizon_days: IntArray, known_day: IntArray) -> ScorePool:
        """Return the ratios of forecasts in Laplace's shape that were off by so many spreads, each of shape (n,)."""
        ratio = np.asarray(score, dtype=float)[:, None] / laplace_quantiles(np.array(SIDE_LEVELS))
        none = np.zeros(len(ratio), dtype=np.int64)
        return cls(_kept(ratio), category, horizon_days, known_day, none.astype(np.int32), none)

    def __len__(self) -> int:
        return len(self.ratio)

    def extended(self, other: ScorePool) -> ScorePool:
        """Return both pools as one."""
        names = [field.name for field in fields(self)]
        return ScorePool(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def where(self, mask: np.ndarray) -> ScorePool:
        """Return the ratios for which ``mask`` holds."""
        return ScorePool(*(getattr(self, field.name)[mask] for field in fields(self)))

    def newest_known(self, days: IntArray) -> IntArray:
        """Return the latest day up to each of these on which an outcome became known, :data:`NEVER` without one."""
        known = np.concatenate([[NEVER], self._days])
        return np.asarray(known[np.searchsorted(self._days, days, side="right")])

    def rising(self, known: np.ndarray) -> list[IntArray]:
        """Return, for each level, the order in which the ratios of ``where(known)`` rise."""
        place = np.cumsum(known, dtype=np.int32) - 1
        return [place[order[known[order]]] for order in self._order]

    @cached_property
    def records(self) -> OwnRecords:
        """What each strategy's forecasts were off by, in spreads."""
        return OwnRecords.of(
            error_in_spreads(self.ratio, SIDE_LEVELS), self.strategy, self.known_day, self.horizon_days
        )

    @cached_property
    def _days(self) -> IntArray:
        return np.unique(self.known_day)

    @cached_property
    def _order(self) -> IntArray:
        return np.ascontiguousarray(np.argsort(self.ratio, axis=0, kind="stable").T.astype(np.int32))


def scores_of(raw: LocationScale, keys: ForecastKeys, actual: FloatArray, horizon_days: int) -> ScorePool:
    """Return the ratios that forecasts leave, given what happened.

    Parameters
    ----------
    raw : LocationScale
        n forecasts at one horizon.
    keys : ForecastKeys
        Their strategies and origins.
    actual : ndarray of shape (n,)
        Realised ``apy``; forecasts with NaN leave none.
    horizon_days : int
        Their horizon.
    """
    known = np.isfinite(actual)
    ratio = (actual - raw.location)[known, None] / raw.distances()[known]
    day = keys.origin.astype("datetime64[D]").astype(np.int64)[known] + horizon_days
    return ScorePool(
        ratio=_kept(ratio),
        category=keys.category[known].astype(np.int32),
        horizon_days=np.full(int(known.sum()), horizon_days, dtype=np.int32),
        known_day=day.astype(np.int32),
        state=raw.states()[known].astype(np.int32),
        strategy=strategy_codes(keys.strategy_id[known]),
    )


def _kept(ratio: FloatArray) -> FloatArray:
    return np.clip(ratio, -MAX_ABS_RATIO, MAX_ABS_RATIO).astype(np.float16)


@dataclass(frozen=True)
class Calibrator:
    """Turns what a model says into quantiles, with the ratios known on a day.

    Attributes
    ----------
    pool : ScorePool
        All ratios so far, any horizon of :data:`HORIZON_GRID` or other.
    halflife_days : float
        Age at which a ratio counts half.
    strength : tuple of float
        How much of the factor of each of :data:`SIDE_LEVELS` is applied: 1 the whole, 0 nothing.
    record_prior : float or None
        Against how many forecasts without surprise a strategy's own record is weighed; None: it is not asked.
    """

    pool: ScorePool
    halflife_days: float = HALFLIFE_DAYS
    strength: tuple[float, ...] = WHOLE_STRENGTH
    record_prior: float | None = None

    def updated(self, new: ScorePool) -> Calibrator:
        """Return a calibrator that also knows these ratios."""
        return replace(self, pool=self.pool.extended(new)) if len(new) else self

    def forecasts(
        self, raw: LocationScale, keys: ForecastKeys, horizon_days: int, levels: tuple[float, ...]
    ) -> Forecasts:
        """Calibrate forecasts, each with what was known at its origin.

        Parameters
        ----------
        raw : LocationScale
            n forecasts.
        keys : ForecastKeys
            Their strategies, origins and categories.
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
        factor = self._stretch(keys, raw.states(), horizon_days)
        quantiles = np.empty((len(keys), len(QUANTILE_LEVELS)))
        quantiles[:, _MEDIAN] = raw.location
        quantiles[:, _SIDE] = raw.location[:, None] + _outward(raw.distances() * factor)
        wanted = quantiles_between(np.array(QUANTILE_LEVELS), quantiles, np.asarray(levels))
        floor = least_apy(keys.category)
        return Forecasts(
            keys=keys,
            horizon_days=horizon_days,
            levels=levels,
            apy=np.maximum(raw.location, floor),
            volatility=raw.volatility,
            quantiles=np.maximum(np.maximum.accumulate(wanted, axis=1), floor[:, None]),
        )

    def _stretch(self, keys: ForecastKeys, state: IntArray, horizon_days: int) -> FloatArray:
        """Return what each row's distances are multiplied by, shape (n, n_side_levels)."""
        found = np.ones((len(keys), len(SIDE_LEVELS)))
        newest = self.pool.newest_known(keys.origin.astype("datetime64[D]").astype(np.int64))
        for day in np.unique(newest[newest > NEVER]).tolist():
            known = self._known(horizon_days, day)
            at = newest == day
            for code, kind in np.unique(np.stack([keys.category[at], state[at]]), axis=1).T.tolist():
                mine = at & (keys.category == code) & (state == kind)
                found[mine] = known.factors(code, kind) ** np.array(self.strength)
            if self.record_prior is not None:
                code, when = strategy_codes(keys.strategy_id[at]), self.pool.known_day <= day
                found[at] *= self.pool.records.factors(code, when, known.weight, self.record_prior)[:, None]
        return found

    def factors(self, category: int, horizon_days: int, today: int, state: int = 0) -> FloatArray:
        """Return by how much each distance would have to be stretched for its level to hold, shape (n_side_levels,).

        Parameters
        ----------
        category, horizon_days, today, state : int
            Of the forecasts; ratios known after ``today`` are not looked at. Without any, ones.
        """
        newest = int(self.pool.newest_known(np.array([today]))[0])
        if newest == NEVER:
            return np.ones(len(SIDE_LEVELS))
        return self._known(horizon_days, newest).factors(category, state)

    def _known(self, horizon_days: int, newest: int) -> _KnownRatios:
        """Return the ratios known on the day of the newest, and how much each counts by age and horizon."""
        known = self.pool.known_day <= newest
        pool = self.pool.where(known)  # others are gone: even weighing nothing they would move a rounding
        age = (newest - pool.known_day) / self.halflife_days
        distance = np.log(pool.horizon_days / horizon_days) / HORIZON_BANDWIDTH
        log_weight = -np.log(2.0) * age - 0.5 * distance**2
        # Relative to the best ratio there is: after a long silence, or far from every kept horizon,
        # the nearest known shape still stands.
        return _KnownRatios(pool, self.pool.rising(known), np.exp(log_weight - log_weight.max()))


@dataclass(frozen=True)
class _KnownRatios:
    """The ratios known on a day: in which order each level's rise, and how much each counts."""

    pool: ScorePool
    rising: list[IntArray]
    weight: FloatArray

    @cached_property
    def ratios(self) -> list[FloatArray]:
        """Each level's ratios, rising."""
        return [self.pool.ratio[order, j] for j, order in enumerate(self.rising)]

    def factors(self, category: int, state: int) -> FloatArray:
        weight = self.weight * ((self.pool.category == category) + BORROWED_WEIGHT / self.weight.sum())
        weight = weight * ((self.pool.state == state) + BORROWED_WEIGHT / weight.sum())
        inside = np.where(_SIGN > 0, SIDE_LEVELS, 1.0 - np.array(SIDE_LEVELS))
        found = [
            weighted_quantile(self.ratios[j], weight[order], float(inside[j])) for j, order in enumerate(self.rising)
        ]
        return np.clip(found, *FACTOR_RANGE)


def states_by(persistence: FloatArray) -> IntArray:
    """Return 0, 1 or 2, the more the longer a move lasts, for the feature of that name, shape (n,)."""
    return np.searchsorted(STATE_EDGES, persistence).astype(np.int32)


def least_apy(category: IntArray) -> FloatArray:
    """Return the lowest possible ``apy`` of each row's category, shape (n,)."""
    lowest = [0.0 if name in NEVER_NEGATIVE else GROWTH_FLOOR - 1.0 for name in CATEGORIES]
    return np.asarray(lowest)[category]
