"""Drawdowns of NAV paths: how far below its peak, how likely beyond a limit, for how long.

A path is the value of a position day by day along the last axis, its starting value first; it starts above 0,
never falls below 0 and holds no NaN. A drawdown is a positive number. It comes in two kinds that must not be
mixed, because optimisers speak of the second and people of the first:

* **compounded**: share of the peak value that is lost, 0 … 1;
* **uncompounded**: running peak of the *sum* of simple daily returns, less that sum: what a position set back
  to the same size each day would have lost, in units of that size. It is linear in the weights of a portfolio.

Where there are several paths, they lie along the axis before the last, each with its probability.
"""

from __future__ import annotations

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.measures import checked_probability, conditional_value_at_risk, loss_probability
from aegis_yield.utils.typing import FloatArray


def compounded_drawdowns(nav: FloatArray) -> FloatArray:
    """Return the share lost since the highest value so far.

    Parameters
    ----------
    nav : ndarray of shape (..., n_days + 1)
        Values of the position, the starting value first.

    Returns
    -------
    ndarray of shape (..., n_days + 1)
        0 … 1; 0 at each new peak, and so at the start. A path that ends at 0 has drawdown 1.

    Raises
    ------
    RequestError
        If a path does not start above 0, falls below 0, or is not finite.
    """
    values = _checked_nav(nav)
    return np.asarray(1.0 - values / np.maximum.accumulate(values, axis=-1))


def uncompounded_drawdowns(nav: FloatArray) -> FloatArray:
    """Return the fall of the summed simple returns from their highest sum so far.

    Parameters and errors as in :func:`compounded_drawdowns`. After a path has reached 0 its returns are 0.

    Returns
    -------
    ndarray of shape (..., n_days + 1)
        At least 0, and may exceed 1; 0 at the start.
    """
    total = np.zeros(np.shape(nav))
    total[..., 1:] = np.cumsum(simple_returns(nav), axis=-1)
    return np.asarray(np.maximum.accumulate(total, axis=-1) - total)


def simple_returns(nav: FloatArray) -> FloatArray:
    """Return daily simple returns of shape (..., n_days); a position that is worth nothing returns 0."""
    values = _checked_nav(nav)
    before = values[..., :-1]
    return np.divide(np.diff(values, axis=-1), before, out=np.zeros(before.shape), where=before > 0.0)


def max_drawdown(nav: FloatArray) -> FloatArray:
    """Return the largest compounded drawdown of each path, shape (...).

    As losses of scenarios, these go into :mod:`aegis_yield.risk.measures` for their mean, quantile or CVaR.
    """
    return np.asarray(compounded_drawdowns(nav).max(axis=-1))


def compounded_cdar(nav: FloatArray, level: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the conditional drawdown at risk: the mean of the worst ``1 - level`` of compounded drawdowns.

    Chekhlov, Uryasev and Zabarankin (2005): CVaR of the drawdown over all days of all paths, each day as likely
    as the others of its path. The starting day, where nothing can be lost yet, is left out.

    Parameters
    ----------
    nav : ndarray of shape (n_days + 1,) or (..., n_paths, n_days + 1)
        Values of the position, the starting value first.
    level : float
        0 ≤ level < 1. At 0 it is the average drawdown; towards 1 it nears the maximum drawdown.
    probability : ndarray of shape (n_paths,), optional
        Sums to 1. All paths are equally likely when left out.

    Returns
    -------
    ndarray of shape (...)
    """
    return _cdar(compounded_drawdowns(nav), level, probability)


def uncompounded_cdar(nav: FloatArray, level: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the conditional drawdown at risk of uncompounded drawdowns, as :func:`compounded_cdar` otherwise.

    This is the CDaR that portfolio optimisers minimise, since it is convex in the weights.
    """
    return _cdar(uncompounded_drawdowns(nav), level, probability)


def drawdown_probability(nav: FloatArray, limit: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the probability that the compounded drawdown exceeds ``limit`` on some day.

    Parameters
    ----------
    nav : ndarray of shape (..., n_paths, n_days + 1)
        Values of the position, the starting value first.
    limit : float
        Share of the peak, 0 ≤ limit ≤ 1. A drawdown of exactly this size does not exceed it.
    probability : ndarray of shape (n_paths,), optional
        Sums to 1. All paths are equally likely when left out.

    Returns
    -------
    ndarray of shape (...)
    """
    if not 0.0 <= limit <= 1.0:
        raise RequestError("limit", limit, "a share of the peak, 0 to 1")
    if np.ndim(nav) < 2:
        raise RequestError("nav", np.shape(nav), "several paths, shape (..., n_paths, n_days + 1)")
    return loss_probability(np.moveaxis(max_drawdown(nav), -1, 0), limit, probability)


def longest_under_water_days(nav: FloatArray) -> FloatArray:
    """Return the most days in a row that each path spent below an earlier peak, shape (...).

    A path that has not recovered by its end counts the days up to its end.
    """
    values = _checked_nav(nav)
    day = np.arange(values.shape[-1])
    at_peak = values >= np.maximum.accumulate(values, axis=-1)
    last_peak = np.maximum.accumulate(np.where(at_peak, day, 0), axis=-1)
    return np.asarray((day - last_peak).max(axis=-1).astype(float))


def share_under_water(nav: FloatArray) -> FloatArray:
    """Return the share of days, the start left out, that each path spent below an earlier peak, shape (...)."""
    return np.asarray((_after_start(compounded_drawdowns(nav)) > 0.0).mean(axis=-1))


def _cdar(drawdowns: FloatArray, level: float, probability: FloatArray | None) -> FloatArray:
    paths = np.atleast_2d(_after_start(drawdowns))
    n_paths, n_days = paths.shape[-2:]
    pooled = paths.reshape(*paths.shape[:-2], n_paths * n_days)
    weight = np.repeat(checked_probability(n_paths, probability) / n_days, n_days)
    return conditional_value_at_risk(np.moveaxis(pooled, -1, 0), level, weight)


def _after_start(drawdowns: FloatArray) -> FloatArray:
    if drawdowns.shape[-1] < 2:
        raise RequestError("nav", drawdowns.shape, "a starting value and at least one day after it")
    return drawdowns[..., 1:]


def _checked_nav(nav: FloatArray) -> FloatArray:
    values = np.asarray(nav, dtype=float)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise RequestError("nav", values.shape, "values along the last axis, the starting value first")
    if not np.isfinite(values).all() or (values < 0.0).any() or (values[..., 0] <= 0.0).any():
        worst = float(values.min()) if np.isfinite(values).all() else float(values[~np.isfinite(values)][0])
        raise RequestError("nav", worst, "finite values, at least 0, that start above 0")
    return values
