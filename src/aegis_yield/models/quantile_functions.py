"""Quantile functions: Laplace's, of a weighted sample, and between the levels that a forecast carries."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from aegis_yield.utils.typing import FloatArray


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
    mass = weights[counts]
    cumulated = np.cumsum(mass)
    return float(np.interp(level * cumulated[-1], cumulated - mass / 2, rising[counts]))


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
    here, there = ndtri(known), ndtri(wanted)
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    share = (there - here[left]) / (here[left + 1] - here[left])
    low, high = quantiles[:, left], quantiles[:, left + 1]
    exact = np.isin(wanted, known)
    where = np.searchsorted(known, wanted[exact])
    found = low + share * (high - low)
    found[:, exact] = quantiles[:, where]
    return np.asarray(found)
