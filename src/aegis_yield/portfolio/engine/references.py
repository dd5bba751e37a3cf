"""Portfolios to compare with: equal, inverse volatility, risk parity, hierarchical risk parity."""

from __future__ import annotations

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray, IntArray

_MAX_STEPS = 200
_STEP_TOLERANCE = 1e-14


def equal(n: int) -> FloatArray:
    """Return n equal weights, shape (n,)."""
    return np.full(n, 1.0 / n)


def inverse_volatility(covariance: FloatArray) -> FloatArray:
    """Return weights in inverse proportion to standard deviations.

    Parameters
    ----------
    covariance : ndarray of shape (n, n)
        With a positive diagonal.

    Returns
    -------
    ndarray of shape (n,)
        Sums to 1.
    """
    weights = 1.0 / _deviations(covariance)
    inverse: FloatArray = weights / weights.sum()
    return inverse


def risk_parity(covariance: FloatArray, budget: FloatArray | None = None) -> FloatArray:
    """Return the long-only weights whose shares of the variance are the budget (equal by default).

    Parameters
    ----------
    covariance : ndarray of shape (n, n)
        Symmetric, positive definite.
    budget : ndarray of shape (n,), optional
        Positive shares; scaled to sum to 1.

    Returns
    -------
    ndarray of shape (n,)
        Sums to 1.

    Notes
    -----
    The minimum of ``x'Cx / 2 - budget'log x`` with C the correlation, by damped Newton steps (Spinu 2013); it is
    unique, and there ``x_i (Cx)_i = budget_i``.
    """
    deviation = _deviations(covariance)
    n = len(deviation)
    share = np.full(n, 1.0 / n) if budget is None else np.asarray(budget, dtype=float)
    if share.shape != (n,) or not (share > 0).all():
        raise RequestError("budget", share, f"positive numbers of shape ({n},)")
    share = share / share.sum()
    correlation = covariance / np.outer(deviation, deviation)
    x = np.sqrt(share / np.maximum(correlation.sum(axis=1), 1.0))
    for _ in range(_MAX_STEPS):
        slope = correlation @ x - share / x
        step = np.linalg.solve(correlation + np.diag(share / x**2), slope)
        decrement = float(np.sqrt(max(slope @ step, 0.0)))
        # the logarithm's barrier is self-concordant after division by the least share: a damped step stays positive
        damping = 1.0 + decrement / np.sqrt(share.min())
        x = x - step / (damping if damping > 1.0 + 0.25 else 1.0)
        if decrement**2 < _STEP_TOLERANCE**2:
            break
    weights = x / deviation
    parity: FloatArray = weights / weights.sum()
    return parity


def hierarchical_risk_parity(covariance: FloatArray) -> FloatArray:
    """Return the weights of hierarchical risk parity (Lopez de Prado 2016): single linkage, bisection.

    Parameters
    ----------
    covariance : ndarray of shape (n, n)
        With a positive diagonal.

    Returns
    -------
    ndarray of shape (n,)
        Sums to 1.
    """
    deviation = _deviations(covariance)
    n = len(deviation)
    if n == 1:
        return np.ones(1)
    correlation = np.clip(covariance / np.outer(deviation, deviation), -1.0, 1.0)
    distance = np.sqrt(0.5 * (1.0 - correlation))
    between_columns = squareform(np.linalg.norm(distance[:, None] - distance[None], axis=2), checks=False)
    order = hierarchy.leaves_list(hierarchy.linkage(between_columns, method="single"))
    weights = np.ones(n)
    halves = [order]
    while halves:
        group = halves.pop()
        if len(group) > 1:
            left, right = group[: len(group) // 2], group[len(group) // 2 :]
            low, high = _cluster_variance(covariance, left), _cluster_variance(covariance, right)
            weights[left] *= high / (low + high)
            weights[right] *= low / (low + high)
            halves += [left, right]
    return weights


def _cluster_variance(covariance: FloatArray, members: IntArray) -> float:
    """Return the variance of a cluster weighted by inverse variances."""
    inside = covariance[np.ix_(members, members)]
    weights = 1.0 / np.diag(inside)
    weights = weights / weights.sum()
    return float(weights @ inside @ weights)


def _deviations(covariance: FloatArray) -> FloatArray:
    diagonal = np.diag(covariance)
    if not (diagonal > 0).all():
        raise RequestError("covariance", float(diagonal.min()), "a matrix with a positive diagonal")
    deviations: FloatArray = np.sqrt(diagonal)
    return deviations
