"""A rate kinked in utilisation, fitted to what was paid: robust lines on a grid of kinks, and a bootstrap of the fit.

For each kink k the model ``rate = base + low * min(U, k) + high * max(U - k, 0)`` is linear, its three coefficients at
least 0; it is fitted to the least sum of absolute errors by reweighting. The kink with the least error wins if it beats
a straight line clearly and both sides of it were seen; else the line is kept and the kink counts as unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from aegis_yield.utils.typing import FloatArray

_KINKS: Final = np.round(np.arange(0.40, 0.97, 0.01), 2)
_ROUNDS: Final = 12
_KINK_MUST_SAVE: Final = 0.15
_LEAST_SIDE: Final = 0.04
_NEARLY_AS_GOOD: Final = 1.25
_MOST_CANDIDATES: Final = 12
_BLOCK_DAYS: Final = 7
_REPLICATES: Final = 200
_RIDGE: Final = 1e-10
_SMALLEST_ERROR: Final = 1e-5
_WILD: Final = 10.0
_SUBSETS: Final = tuple(list(part) for size in (1, 2, 3) for part in combinations(range(3), size))


@dataclass(frozen=True)
class KinkFit:
    """Coefficients of a kinked rate.

    Attributes
    ----------
    kink : float
        Utilisation at which the slope changes; NaN where a straight line does as well.
    base, low, high : float
        Rate at U = 0 and slopes per unit of utilisation below and above the kink; at least 0.
    explained : float
        Share of the rate's mean distance from its median that the fit removes, wild days left out, at most 1; 0 for a
        rate that never moved, below 0 where the fit is worse than a constant.
    replicates : ndarray of shape (n_replicates, 4)
        (kink, base, low, high) refitted to resampled weeks.
    """

    kink: float
    base: float
    low: float
    high: float
    explained: float
    replicates: FloatArray


def rate_at(coefficients: FloatArray, utilization: FloatArray) -> FloatArray:
    """Return the rate, coefficients (..., 4) as (kink, base, low, high); NaN kink for a line."""
    kink = np.nan_to_num(coefficients[..., 0], nan=2.0)
    below = np.minimum(utilization, kink) * coefficients[..., 2]
    rate: FloatArray = coefficients[..., 1] + below + np.maximum(utilization - kink, 0.0) * coefficients[..., 3]
    return rate


def fit_kinked(utilization: FloatArray, paid: FloatArray, weight: FloatArray, seed: int) -> KinkFit:
    """Fit a kinked rate.

    Parameters
    ----------
    utilization, paid, weight : ndarray of shape (n_days,)
        Days in order of time, no NaN; rates per year; weights above 0.
    seed : int
        Seeds the resampling: the same history gives the same fit.

    Returns
    -------
    KinkFit
        The fit and its replicates.
    """
    kinks = _seen_kinks(utilization)
    design = _design(utilization, np.append(kinks, 2.0))  # the last one is the straight line
    coefficients, errors = _least_absolute(design, paid, weight)
    # a kink is judged by errors cut at a bound: a few wild days must not hide what it saves on all the others
    bound = _WILD * max(_weighted_median(np.abs(errors[-1]), weight), _SMALLEST_ERROR)
    loss = (weight * np.minimum(np.abs(errors), bound)).sum(axis=1)
    best = int(np.argmin(loss))
    bends = coefficients[best, 2] > coefficients[best, 1]
    if not bends or loss[best] > (1.0 - _KINK_MUST_SAVE) * loss[-1]:
        best = len(kinks)
    near = _candidates(loss, best)
    replicates = _replicates(design[near], errors[best], (paid, weight), seed)
    values = np.append(kinks, np.nan)
    base, low, high = (float(value) for value in coefficients[best])
    return KinkFit(
        kink=float(values[best]),
        base=base,
        low=low,
        high=high,
        explained=_explained(paid, errors[best], weight),
        replicates=np.column_stack([values[near][replicates[0]], replicates[1]]),
    )


def _explained(paid: FloatArray, errors: FloatArray, weight: FloatArray) -> float:
    """Return what share of the rate's distance from its median a fit removes, on days that are not wild."""
    tame = np.abs(errors) <= _WILD * max(_weighted_median(np.abs(errors), weight), _SMALLEST_ERROR)
    distance = np.abs(paid - _weighted_median(paid, weight))
    spread = float((weight * distance)[tame].sum())
    floor = _SMALLEST_ERROR * float(weight[tame].sum())
    return 1.0 - float((weight * np.abs(errors))[tame].sum()) / spread if spread > floor else 0.0


def _seen_kinks(utilization: FloatArray) -> FloatArray:
    """Return the kinks of the grid with enough days on both sides."""
    above = (utilization[None, :] > _KINKS[:, None]).mean(axis=1)
    kinks: FloatArray = _KINKS[(above >= _LEAST_SIDE) & (above <= 1.0 - _LEAST_SIDE)]
    return kinks


def _candidates(loss: FloatArray, best: int) -> list[int]:
    """Return the kinks that do nearly as well as the best one; the line alone where the line was taken."""
    if best == len(loss) - 1:
        return [best]
    good = [int(k) for k in np.argsort(loss[:-1]) if loss[k] <= _NEARLY_AS_GOOD * loss[best]]
    return good[:_MOST_CANDIDATES] or [best]


def _design(utilization: FloatArray, kinks: FloatArray) -> FloatArray:
    """Return the columns 1, min(U, k), max(U - k, 0) for each kink, shape (n_kinks, n_days, 3)."""
    below = np.minimum(utilization[None, :], kinks[:, None])
    above = np.maximum(utilization[None, :] - kinks[:, None], 0.0)
    columns: FloatArray = np.stack([np.ones_like(below), below, above], axis=2)
    return columns


def _least_absolute(design: FloatArray, target: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return coefficients (n_kinks, 3) and errors (n_kinks, n_days) of least absolute error, by reweighting."""
    errors: FloatArray = np.zeros(design.shape[:2])
    coefficients: FloatArray = np.zeros((len(design), 3))
    reweighted = np.broadcast_to(weight, errors.shape)
    for _ in range(_ROUNDS):
        normal = np.einsum("kni,kn,knj->kij", design, reweighted, design, optimize=True)
        moment = np.einsum("kni,kn,n->ki", design, reweighted, target, optimize=True)
        coefficients = _not_negative(normal, moment)
        errors = target[None, :] - np.einsum("kni,ki->kn", design, coefficients)
        reweighted = weight / np.maximum(np.abs(errors), _scale(errors))
    return coefficients, errors


def _scale(errors: FloatArray) -> FloatArray:
    """Return the error below which squares take over from absolute values, shape (n_kinks, 1)."""
    scale: FloatArray = np.maximum(0.5 * np.median(np.abs(errors), axis=-1, keepdims=True), _SMALLEST_ERROR)
    return scale


def _not_negative(normal: FloatArray, moment: FloatArray) -> FloatArray:
    """Solve least squares with coefficients at least 0, batched: the best of all 7 subsets, shape (n, 3)."""
    best: FloatArray = np.zeros(moment.shape)
    value: FloatArray = np.zeros(len(moment))  # the objective c'Nc - 2m'c of no coefficients at all
    ridge = _RIDGE * (np.eye(3) * normal + 1e-300 * np.eye(3))  # in proportion to each column's own size
    for part in _SUBSETS:
        inside = (normal + ridge)[:, part][:, :, part]
        solved: FloatArray = np.linalg.solve(inside, moment[:, part][..., None])[..., 0]
        worth = -np.einsum("ni,ni->n", solved, moment[:, part])
        better = (solved >= 0.0).all(axis=1) & (worth < value)
        value = np.where(better, worth, value)
        whole: FloatArray = np.zeros(moment.shape)
        whole[:, part] = solved
        best = np.where(better[:, None], whole, best)
    return best


def _replicates(
    design: FloatArray, errors: FloatArray, observed: tuple[FloatArray, FloatArray], seed: int
) -> tuple[FloatArray, FloatArray]:
    """Refit to resampled weeks; return the winning candidate (n_replicates,) and coefficients (n_replicates, 3)."""
    target, weight = observed
    counts = _weeks(len(target), seed)  # (replicates, days)
    # squares for all but wild days: weights that favour days with small errors would make the refits too alike
    robust = counts * (weight / np.maximum(np.abs(errors), 6.0 * _scale(errors)))[None, :]
    normal = np.einsum("kni,rn,knj->rkij", design, robust, design, optimize=True)
    moment = np.einsum("kni,rn,n->rki", design, robust, target, optimize=True)
    n_replicates, n_kinks = moment.shape[:2]
    solved = _not_negative(normal.reshape(-1, 3, 3), moment.reshape(-1, 3)).reshape(n_replicates, n_kinks, 3)
    fitted = np.einsum("rki,rkij,rkj->rk", solved, normal, solved) - 2.0 * np.einsum("rki,rki->rk", solved, moment)
    winner = fitted.argmin(axis=1)
    return winner, solved[np.arange(n_replicates), winner]


def _weeks(n_days: int, seed: int) -> FloatArray:
    """Return how often each day is drawn when whole weeks are, shape (n_replicates, n_days)."""
    rng = np.random.default_rng([seed, n_days])
    n_blocks = -(-n_days // _BLOCK_DAYS)
    starts = rng.integers(0, n_days, size=(_REPLICATES, n_blocks))
    days = (starts[:, :, None] + np.arange(_BLOCK_DAYS)) % n_days
    counts = np.zeros((_REPLICATES, n_days))
    np.add.at(counts, (np.arange(_REPLICATES)[:, None], days.reshape(_REPLICATES, -1)), 1.0)
    return counts


def _weighted_median(values: FloatArray, weight: FloatArray) -> float:
    order = np.argsort(values)
    passed = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(passed, 0.5 * passed[-1])])
