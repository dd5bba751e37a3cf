"""Rolling scores: how the forecasts of the last weeks turned out, by category."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS, interval_levels
from aegis_yield.monitoring.alarms import Reading
from aegis_yield.monitoring.longrun import N_COSINES, mean_test
from aegis_yield.monitoring.records import KeptForecast
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

NOMINAL: Final = 0.90
WINDOWS_DAYS: Final = (30, 60)
ALARM_WINDOW_DAYS: Final = 60
TOLERANCE: Final = 0.05
"""Of coverage, either way."""

MIN_OUTCOMES: Final = 50
SIGMAS: Final = 3.0
"""By so many standard errors coverage must be off: it is looked at every day in every category."""

TIED: Final = 0.1
"""Correlation between the hits of strategies in the same week."""

WORSE_THAN_NAIVE: Final = 0.15
BIAS_SHARE: Final = 0.6
CHANCE: Final = 0.01
_MIN_EACH: Final = 3
_TINY: Final = 1e-6
_LOW, _HIGH = (QUANTILE_LEVELS.index(level) for level in interval_levels(NOMINAL))


@dataclass(frozen=True)
class Outcomes:
    """Forecasts with known outcomes, one row each; of repeated forecasts the newest.

    Attributes
    ----------
    category : ndarray of str, shape (n,)
    strategy, origin, due : ndarray of int, shape (n,)
        Code of the strategy, day numbers.
    error, naive_error, width : ndarray of shape (n,)
        Forecast less outcome, last value less outcome, width of the 90 % interval.
    inside : ndarray of bool, shape (n,)
        Whether the outcome lay inside it.
    """

    category: np.ndarray
    strategy: IntArray
    origin: IntArray
    due: IntArray
    error: FloatArray
    naive_error: FloatArray
    width: FloatArray
    inside: BoolArray

    @classmethod
    def of(cls, kept: Iterable[KeptForecast]) -> Outcomes:
        """Collect forecasts whose outcome is known."""
        newest: dict[tuple[str, dt.date, int], KeptForecast] = {}
        for one in sorted(kept, key=lambda forecast: forecast.made_at):
            if one.actual_apy is not None:
                newest[(one.made.strategy_id, one.made.origin, one.made.horizon_days)] = one
        rows = list(newest.values())
        actual = np.array([one.actual_apy for one in rows], dtype=float)
        quantiles = np.array([one.made.quantiles for one in rows], dtype=float).reshape(-1, len(QUANTILE_LEVELS))
        low, high = quantiles[:, _LOW], quantiles[:, _HIGH]
        names = np.array([one.made.strategy_id for one in rows], dtype=str)
        return cls(
            category=np.array([one.made.category for one in rows], dtype=str),
            strategy=np.unique(names, return_inverse=True)[1],
            origin=np.array([one.made.origin.toordinal() for one in rows], dtype=int),
            due=np.array([one.made.due.toordinal() for one in rows], dtype=int),
            error=np.array([one.made.apy for one in rows], dtype=float) - actual,
            naive_error=np.array([one.made.last_apy for one in rows], dtype=float) - actual,
            width=high - low,
            inside=(low <= actual) & (actual <= high),
        )

    def __len__(self) -> int:
        return len(self.strategy)

    def chosen(self, rows: BoolArray) -> Outcomes:
        """Return these rows only."""
        return Outcomes(**{name: values[rows] for name, values in vars(self).items()})

    def between(self, day: dt.date, days: int) -> Outcomes:
        """Return what became known in the ``days`` days that end with a day."""
        last = day.toordinal()
        return self.chosen((self.due <= last) & (self.due > last - days))


@dataclass(frozen=True)
class CategoryScore:
    """How one category's forecasts turned out over a window; NaN where too little is known.

    Attributes
    ----------
    category : str
        Of which.
    window_days, n_outcomes, n_strategies : int
        Evidence.
    coverage : float
        Share of outcomes inside the 90 % interval.
    rel_mae : float
        Mean absolute error over that of the last value, geometric mean over strategies.
    bias : float
        Mean of forecast less outcome, fraction per year.
    bias_share : float
        Bias over the mean absolute error.
    median_width : float
        Of the 90 % interval.
    """

    category: str
    window_days: int
    n_outcomes: int
    n_strategies: int
    coverage: float
    rel_mae: float
    bias: float
    bias_share: float
    median_width: float


def category_scores(outcomes: Outcomes, day: dt.date, windows: Sequence[int] = WINDOWS_DAYS) -> list[CategoryScore]:
    """Score every category over windows that end with a day."""
    found = []
    for days in windows:
        recent = outcomes.between(day, days)
        found += [_score(recent, str(name), days) for name in np.unique(recent.category)]
    return found


def _score(recent: Outcomes, category: str, days: int) -> CategoryScore:
    own = recent.chosen(recent.category == category)
    size = float(np.abs(own.error).mean())
    return CategoryScore(
        category=category,
        window_days=days,
        n_outcomes=len(own),
        n_strategies=len(np.unique(own.strategy)),
        coverage=float(own.inside.mean()),
        rel_mae=_relative_error(own),
        bias=float(own.error.mean()),
        bias_share=float(own.error.mean()) / size if size > _TINY else 0.0,
        median_width=float(np.median(own.width)),
    )


def _relative_error(own: Outcomes) -> float:
    _, code, count = np.unique(own.strategy, return_inverse=True, return_counts=True)
    error, naive = (np.bincount(code, weights=np.abs(values)) / count for values in (own.error, own.naive_error))
    scored = (count >= _MIN_EACH) & (naive > _TINY)
    if not scored.any():
        return float("nan")
    return float(np.exp(np.log(np.maximum(error[scored] / naive[scored], 1e-3)).mean()))


def score_readings(outcomes: Outcomes, day: dt.date) -> list[Reading]:
    """Return how coverage, skill and bias of every category with enough outcomes stand on a day."""
    recent = outcomes.between(day, ALARM_WINDOW_DAYS)
    found = []
    for name in np.unique(recent.category):
        own = recent.chosen(recent.category == name)
        if len(own) >= MIN_OUTCOMES:
            score = _score(own, str(name), ALARM_WINDOW_DAYS)
            found += [_coverage(own, score), *_errors(own, score)]
    return found


def _coverage(own: Outcomes, score: CategoryScore) -> Reading:
    off = abs(score.coverage - NOMINAL)
    error = np.sqrt(NOMINAL * (1 - NOMINAL) / effective_outcomes(own))
    severity = min(off / TOLERANCE, off / (SIGMAS * float(error)))
    text = (
        f"{score.category} coverage {100 * score.coverage:.0f} % over {ALARM_WINDOW_DAYS} days, "
        f"nominal {100 * NOMINAL:.0f} %"
    )
    return Reading("coverage", score.category, severity, text)


def effective_outcomes(own: Outcomes) -> float:
    """Return to how many independent outcomes these amount: horizons overlap, and strategies move together."""
    horizon = np.maximum(own.due - own.origin, 1)
    block = np.stack([own.strategy, own.origin // horizon, horizon])
    apart = np.unique(block, axis=1)
    moments = np.unique(apart[1:], axis=1, return_counts=True)[1]
    return float((moments / (1.0 + (moments - 1.0) * TIED)).sum())


def _errors(own: Outcomes, score: CategoryScore) -> list[Reading]:
    """Return skill and bias; they count only as far as chance does not explain them."""
    _, week = np.unique(own.due // 7, return_inverse=True)
    if int(week.max()) + 1 < N_COSINES + 2 or not np.isfinite(score.rel_mae):
        return []
    _, code = np.unique(own.strategy, return_inverse=True)
    count = np.bincount(code)
    size, naive = (np.bincount(code, weights=np.abs(values)) / count for values in (own.error, own.naive_error))
    worse = (np.abs(own.error) - np.abs(own.naive_error)) / np.maximum(naive, _TINY)[code]
    lean = own.error / np.maximum(size, _TINY)[code]
    chance = [
        mean_test(np.bincount(week, weights=values) / np.bincount(week)) for values in (np.clip(worse, -9, 9), lean)
    ]
    skill = (score.rel_mae - 1.0) / WORSE_THAN_NAIVE
    bias = abs(score.bias_share) / BIAS_SHARE
    return [
        Reading(
            "skill",
            score.category,
            skill if chance[0].p_above < CHANCE else min(skill, 0.99),
            f"{score.category} relMAE {score.rel_mae:.2f} over {ALARM_WINDOW_DAYS} days: worse than the last value",
        ),
        Reading(
            "bias",
            score.category,
            bias if chance[1].p_two_sided < CHANCE else min(bias, 0.99),
            f"{score.category} forecasts {100 * score.bias:+.2f} points off on average over {ALARM_WINDOW_DAYS} "
            f"days, {100 * abs(score.bias_share):.0f} % of the mean error",
        ),
    ]
