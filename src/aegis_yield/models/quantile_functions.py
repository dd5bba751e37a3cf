"""Quantile functions: Laplace's, of a weighted sample, and between the levels that a forecast carries."""

from __future__ import annotations

import numpy as np

from aegis_yield.models.torch_runtime import torch
from aegis_yield.utils.typing import FloatArray


def normal_quantiles(levels: FloatArray) -> FloatArray:
    """Return quantiles of the standard normal distribution; minus and plus infinity at 0 and 1."""
    # SciPy's would cost every start a fifth of a second: importing it imports much else.
    return np.asarray(torch.special.ndtri(torch.from_numpy(np.array(levels, dtype=float))).numpy())


def laplace_quantiles(levels: FloatArray) -> FloatArray:
    """Return quantiles of the standard Laplace distribution: what the network's loss assumes."""
    p = np.asarray(levels)
    return np.where(p < 0.5, np.log(2 * p), -np.log(2 * (1 - p)))


def weighted_quantile(rising: FloatArray, weights: FloatArray, level: float) -> float:
    """Return a quantile of a weighted sample, interpolated between mid-points of the weight steps.

    Parameters
    ----------
    rising, weights : ndarray of shape (n,)
        Sample in rising order, and weights, at least 0 and not all nil.
    level : float
        In [0, 1].

    Returns
    -------
    float
        With equal weights this is Hazen's rule (numpy's ``method="hazen"``).
    """
    counts = weights > 0  # what weighs nothing must not even be an end of the sample
    if not counts.all():
        rising, weights = rising[counts], weights[counts]
    cumulated = np.cumsum(weights)
    at = level * cumulated[-1]
    # The mid-points on both sides lie within the steps around: no need to look at the others.
    near = int(np.searchsorted(cumulated, at))
    around = slice(max(near - 1, 0), near + 2)
    return float(np.interp(at, cumulated[around] - weights[around] / 2, rising[around]))


def quantiles_between(known: FloatArray, quantiles: FloatArray, wanted: FloatArray) -> FloatArray:
    """Return quantiles at any levels from those at a few.

    Parameters
    ----------
    known : ndarray of shape (k,)
        Rising levels strictly between 0 and 1, at least two.
    quantiles : ndarray of shape (n, k)
        Quantiles there, rising along a row.
    wanted : ndarray of shape (m,)
        Levels strictly between 0 and 1.

    Returns
    -------
    ndarray of shape (n, m)
        Exact at known levels; between and beyond them linear in the quantile of a normal distribution: exact for a
        normal one, and rising wherever the known ones do.
    """
    here, there = normal_quantiles(known), normal_quantiles(wanted)
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    share = (there - here[left]) / (here[left + 1] - here[left])
    low, high = quantiles[:, left], quantiles[:, left + 1]
    exact = np.isin(wanted, known)
    where = np.searchsorted(known, wanted[exact])
    found = low + share * (high - low)
    found[:, exact] = quantiles[:, where]
    return np.asarray(found)
