"""Distributions from forecast quantiles: the quantile function, its mean, and where an outcome fell in it.

Between the forecast's levels the quantile function is linear in the level. Beyond the outermost levels the tails are
exponential, with the rate that the two outermost quantiles would have on such a tail: exact for a Laplace
distribution, which is what the network's loss assumes. The whole function is linear in the quantiles, so one matrix
serves every strategy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.utils.typing import FloatArray

_LEVELS_ALLOWED: Final = "at least two levels, rising strictly between 0 and 1"


def quantile_weights(levels: Sequence[float], at: FloatArray) -> FloatArray:
    """Return the matrix that turns quantiles into values of the quantile function.

    Parameters
    ----------
    levels : sequence of float
        k rising levels strictly between 0 and 1.
    at : ndarray of shape (s,)
        Levels wanted, strictly between 0 and 1.

    Returns
    -------
    ndarray of shape (s, k)
        ``quantiles @ weights.T`` are the values; each row sums to 1.

    Raises
    ------
    RequestError
        If levels are not as allowed.
    """
    p, u = _checked(levels), np.asarray(at, dtype=float)
    weights = np.zeros((len(u), len(p)))
    inner = np.clip(np.searchsorted(p, u, side="right") - 1, 0, len(p) - 2)
    share = np.clip((u - p[inner]) / (p[inner + 1] - p[inner]), 0.0, 1.0)
    row = np.arange(len(u))
    weights[row, inner] = 1.0 - share
    weights[row, inner + 1] = share
    below = np.maximum(np.log(p[0] / u), 0.0) / np.log(p[1] / p[0])
    above = np.maximum(np.log((1.0 - p[-1]) / (1.0 - u)), 0.0) / np.log((1.0 - p[-2]) / (1.0 - p[-1]))
    weights[:, 0] += below
    weights[:, 1] -= below
    weights[:, -1] += above
    weights[:, -2] -= above
    return weights


def quantile_mean(levels: Sequence[float], quantiles: FloatArray) -> FloatArray:
    """Return the mean of the distribution that the quantiles stand for: the integral of its quantile function.

    Parameters
    ----------
    levels : sequence of float
        k rising levels.
    quantiles : ndarray of shape (n, k)
        Quantiles at them.

    Returns
    -------
    ndarray of shape (n,)
        Trapezia between the levels plus the two exponential tails, in closed form. NaN where a quantile is.
    """
    p, q = _checked(levels), np.asarray(quantiles, dtype=float)
    inner = 0.5 * (q[:, 1:] + q[:, :-1]) @ np.diff(p)
    low_rate = (q[:, 1] - q[:, 0]) / np.log(p[1] / p[0])
    high_rate = (q[:, -1] - q[:, -2]) / np.log((1.0 - p[-2]) / (1.0 - p[-1]))
    mean: FloatArray = inner + p[0] * (q[:, 0] - low_rate) + (1.0 - p[-1]) * (q[:, -1] + high_rate)
    return mean


def pit(levels: Sequence[float], quantiles: FloatArray, actual: FloatArray) -> FloatArray:
    """Return where outcomes fell in their forecasts: the probability integral transform.

    Parameters
    ----------
    levels : sequence of float
        k rising levels.
    quantiles : ndarray of shape (m, k)
        Quantiles at them, never falling along a row.
    actual : ndarray of shape (m,)
        Outcomes.

    Returns
    -------
    ndarray of shape (m,)
        In [0, 1], uniform for a calibrated forecast. An outcome on an atom (equal quantiles) gets the middle of the
        levels that it covers. NaN where the outcome or a quantile is NaN.
    """
    p, q, y = _checked(levels), np.asarray(quantiles, dtype=float), np.asarray(actual, dtype=float)
    below = (q < y[:, None]).sum(axis=1)
    upto = (q <= y[:, None]).sum(axis=1)
    found = np.where(below == upto, _between(p, q, y, below), _on_atom(p, below, upto))
    return np.where(np.isfinite(y) & np.isfinite(q).all(axis=1), found, np.nan)


def pit_matrix(forecasts: pl.DataFrame, strategy_ids: Sequence[str], known_by: dt.date | None = None) -> FloatArray:
    """Return the PITs of past forecasts, one row for each origin and one column for each strategy.

    Parameters
    ----------
    forecasts : polars.DataFrame
        Forecasts with outcomes as ``evaluate --forecasts`` writes them: ``strategy_id, origin, horizon_days``, the
        quantiles ``q025 … q975`` and ``actual_apy``.
    strategy_ids : sequence of str
        Columns wanted, in this order; other strategies are left out.
    known_by : date, optional
        Only outcomes that were complete on that day count, so that nothing looks ahead.

    Returns
    -------
    ndarray of shape (n_origins, n)
        NaN where a strategy had no forecast or its outcome is not known.
    """
    own = forecasts.filter(pl.col("strategy_id").is_in(list(strategy_ids)), pl.col("actual_apy").is_not_null())
    if known_by is not None:
        own = own.filter(pl.col("origin").dt.offset_by(pl.format("{}d", "horizon_days")) <= known_by)
    column = {strategy: code for code, strategy in enumerate(strategy_ids)}
    origins, row = np.unique(own["origin"].to_numpy(), return_inverse=True)
    values = pit(QUANTILE_LEVELS, own.select(QUANTILE_COLUMNS).to_numpy(), own["actual_apy"].to_numpy())
    matrix = np.full((len(origins), len(strategy_ids)), np.nan)
    matrix[row, [column[strategy] for strategy in own["strategy_id"]]] = values
    return matrix


def _between(p: FloatArray, q: FloatArray, y: FloatArray, below: FloatArray) -> FloatArray:
    """Invert the quantile function where no quantile equals the outcome."""
    last = q.shape[1] - 1
    left, right = np.clip(below - 1, 0, last - 1), np.clip(below, 1, last)
    row = np.arange(len(q))
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = p[left] + (p[right] - p[left]) * (y - q[row, left]) / (q[row, right] - q[row, left])
        # A tail without width has no outcome in it: what lies beyond has probability 0.
        low = p[0] * (p[0] / p[1]) ** np.maximum((q[:, 0] - y) / (q[:, 1] - q[:, 0]), 0.0)
        high = (1 - p[-1]) * ((1 - p[-1]) / (1 - p[-2])) ** np.maximum((y - q[:, -1]) / (q[:, -1] - q[:, -2]), 0.0)
    found = np.where(below == 0, low, inner)
    return np.asarray(np.where(below == last + 1, 1.0 - high, found))


def _on_atom(p: FloatArray, below: FloatArray, upto: FloatArray) -> FloatArray:
    """Return the middle of the levels at which the quantile equals the outcome."""
    k = len(p)
    # Two equal outermost quantiles leave their tail no width: the atom holds all of it.
    low = np.where((below == 0) & (upto >= 2), 0.0, p[np.minimum(below, k - 1)])
    high = np.where((upto == k) & (below <= k - 2), 1.0, p[np.maximum(upto - 1, 0)])
    return np.asarray(0.5 * (low + high))


def _checked(levels: Sequence[float]) -> FloatArray:
    p = np.asarray(levels, dtype=float)
    if p.ndim != 1 or len(p) < 2 or not (np.diff(p) > 0).all() or not (p[0] > 0 and p[-1] < 1):
        raise RequestError("levels", tuple(levels), _LEVELS_ALLOWED)
    return p
