"""Scorecards: how good the forecasts of a walk were (DESIGN section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.models.scores import (
    coverage_by_strategy,
    coverage_gap,
    geometric_mean,
    qlike,
    quantile_crps,
    relative_scores,
    scored_strategies,
    winkler,
)
from aegis_yield.pipelines.walk import Walk
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

INTERVAL_LEVELS: Final = (0.80, 0.90, 0.95)
TERCILES: Final = ("calm", "middle", "volatile")


@dataclass(frozen=True)
class Frame:
    """What all walks over the same rows share.

    Attributes
    ----------
    known : ndarray of bool, shape (n,)
        Rows whose outcome is known.
    strategy : ndarray of int, shape (n_known,)
        Code of each known row's strategy.
    category_of : ndarray of int, shape (n_strategies,)
        Category of each strategy code.
    scored : ndarray of bool, shape (n_strategies,)
        Strategies that count (enough origins, naive error not nil).
    naive : Walk
        The last-value walk that scores are relative to.
    """

    known: BoolArray
    strategy: IntArray
    category_of: IntArray
    scored: BoolArray
    naive: Walk

    @classmethod
    def of(cls, naive: Walk) -> Frame:
        """Lay the common frame over a last-value walk."""
        known = np.isfinite(naive.actual_apy)
        _, first, strategy = np.unique(
            naive.forecasts.keys.strategy_id[known].astype(str), return_index=True, return_inverse=True
        )
        error = np.abs(naive.actual_apy - naive.forecasts.apy)[known]
        return cls(
            known=known,
            strategy=strategy,
            category_of=naive.forecasts.keys.category[known][first],
            scored=scored_strategies(error, strategy, len(first)),
            naive=naive,
        )


def scorecard(walk: Walk, frame: Frame) -> dict[str, Any]:
    """Score one walk.

    Parameters
    ----------
    walk : Walk
        Rows aligned with the frame's.
    frame : Frame
        Common rows and the naive walk.

    Returns
    -------
    dict
        Plain numbers: ``rel_mae`` and ``rel_crps`` (overall and by category, geometric means over
        strategies of the ratio to the last value), ``mae``, coverage, width and interval score for 80, 90 and
        95 %, coverage of the 90 % interval by category, month and volatility tercile and of the strategies with 20
        outcomes or more (``mean_gap`` to 90 %, and what the tenth with the least reaches at most), and ``qlike``.
    """
    losses = _Losses.of(walk, frame.known)
    naive = _Losses.of(frame.naive, frame.known)
    rel_mae = _ratios(losses.error, naive.error, frame)
    rel_crps = _ratios(losses.crps, naive.crps, frame)
    hit = losses.inside[0.90]
    return {
        "rel_mae": geometric_mean(rel_mae),
        "rel_mae_by_category": _by_category(rel_mae, frame),
        "rel_crps": geometric_mean(rel_crps),
        "rel_crps_by_category": _by_category(rel_crps, frame),
        "mae": _mean(losses.error),
        "intervals": {f"{level:.2f}": losses.interval_summary(level) for level in INTERVAL_LEVELS},
        "coverage_90_by_category": _group_means(hit, _category_labels(walk, frame)),
        "coverage_90_by_month": _group_means(
            hit, walk.forecasts.keys.origin[frame.known].astype("datetime64[M]").astype(str)
        ),
        "coverage_90_by_volatility": _group_means(hit, _tercile_labels(walk.forecasts.volatility[frame.known])),
        "coverage_90_of_strategies": _of_strategies(hit, frame),
        "qlike": _mean(losses.qlike),
        "qlike_median": float(np.median(losses.qlike)) if len(losses.qlike) else float("nan"),
    }


@dataclass(frozen=True)
class _Losses:
    error: FloatArray
    crps: FloatArray
    qlike: FloatArray
    inside: dict[float, BoolArray]
    width: dict[float, FloatArray]
    winkler: dict[float, FloatArray]

    @classmethod
    def of(cls, walk: Walk, known: BoolArray) -> _Losses:
        actual = walk.actual_apy[known]
        forecasts = walk.forecasts
        inside: dict[float, BoolArray] = {}
        width: dict[float, FloatArray] = {}
        interval_score: dict[float, FloatArray] = {}
        for level in INTERVAL_LEVELS:
            low, high = (end[known] for end in forecasts.interval(level))
            inside[level] = (low <= actual) & (actual <= high)
            width[level] = high - low
            interval_score[level] = winkler(actual, low, high, level)
        return cls(
            error=np.abs(actual - forecasts.apy[known]),
            crps=quantile_crps(actual, forecasts.quantiles[known], np.asarray(forecasts.levels)),
            qlike=qlike(walk.actual_volatility[known], forecasts.volatility[known]),
            inside=inside,
            width=width,
            winkler=interval_score,
        )

    def interval_summary(self, level: float) -> dict[str, float]:
        return {
            "coverage": _mean(self.inside[level]),
            "mean_width": _mean(self.width[level]),
            "median_width": float(np.median(self.width[level])) if len(self.error) else float("nan"),
            "winkler": _mean(self.winkler[level]),
        }


def _ratios(loss: FloatArray, naive_loss: FloatArray, frame: Frame) -> FloatArray:
    ratios = relative_scores(loss, naive_loss, frame.strategy, len(frame.scored))
    return np.where(frame.scored, ratios, np.nan)


def _by_category(ratios: FloatArray, frame: Frame) -> dict[str, dict[str, float]]:
    table = {}
    for code, name in enumerate(CATEGORIES):
        members = ratios[(frame.category_of == code) & frame.scored]
        if len(members):
            table[name] = {"score": geometric_mean(members), "n_strategies": len(members)}
    return table


def _group_means(values: BoolArray, labels: np.ndarray) -> dict[str, dict[str, float]]:
    table = {}
    for label in np.unique(labels):
        chosen = values[labels == label]
        table[str(label)] = {"coverage": _mean(chosen), "n_forecasts": len(chosen)}
    return table


def _of_strategies(hit: BoolArray, frame: Frame) -> dict[str, float]:
    covered = coverage_by_strategy(hit, frame.strategy, len(frame.scored))
    known = covered[~np.isnan(covered)]
    return {
        "mean_gap": coverage_gap(covered, 0.90),
        "least_tenth": float(np.quantile(known, 0.1)) if len(known) else float("nan"),
        "n_strategies": len(known),
    }


def _category_labels(walk: Walk, frame: Frame) -> np.ndarray:
    return np.asarray(CATEGORIES)[walk.forecasts.keys.category[frame.known]]


def _tercile_labels(volatility: FloatArray) -> np.ndarray:
    if not len(volatility):
        return np.empty(0, dtype=str)
    edges = np.quantile(volatility, [1 / 3, 2 / 3])
    return np.asarray(TERCILES)[np.searchsorted(edges, volatility)]


def _mean(values: FloatArray | BoolArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
