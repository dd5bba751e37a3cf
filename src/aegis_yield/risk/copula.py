"""How the errors of forecasts move together: a Gaussian copula fitted on past PITs, and draws from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

MIN_EIGENVALUE: Final = 1e-8
"""Fitted correlations keep every eigenvalue at least about here."""

_PSD_TOLERANCE: Final = 1e-8
_SYMMETRY_TOLERANCE: Final = 1e-8
_PIT_MARGIN: Final = 1e-3
"""PITs nearer to 0 or 1 count as if they were here: one miss must not make a correlation."""

_TARGET_WEIGHT: Final = 50.0
"""A pair of categories departs from the overall mean once its pairs share about so many outcomes."""

_WHITENING_SPARE: Final = 1.2


@dataclass(frozen=True)
class _Pairs:
    """Sample correlations and what each rests on, all of shape (n, n)."""

    correlation: FloatArray
    outcomes: FloatArray
    known: BoolArray


def fit_correlation(pit: FloatArray, groups: IntArray | None = None, rows_per_outcome: float = 1.0) -> FloatArray:
    """Estimate the copula's correlation from past PITs.

    Normal scores are correlated over the days that two strategies share, then shrunk towards the mean correlation of
    the two strategies' groups (itself drawn to the overall mean). The intensity for a pair is ``v / (v + t)``, with
    ``v = (1 - target²)² / (N - 1)`` the sampling variance over N shared outcomes and ``t`` the variance of true
    correlations around the target, estimated from all pairs (Ledoit & Wolf 2004; here per pair, as overlaps differ).
    Pairs with fewer than three shared outcomes, or without variation, take the target.

    Parameters
    ----------
    pit : ndarray of shape (t, n)
        Past PITs in [0, 1]; NaN where a strategy had no forecast.
    groups : ndarray of int, shape (n,), optional
        Category of each strategy; by default all are of one.
    rows_per_outcome : float
        Rows that share most of an outcome (horizon ÷ distance of origins): overlapping outcomes count less.

    Returns
    -------
    ndarray of shape (n, n)
        Symmetric, unit diagonal, positive definite, no NaN.
    """
    scores = ndtri(np.clip(np.asarray(pit, dtype=float), _PIT_MARGIN, 1.0 - _PIT_MARGIN))
    n = scores.shape[1]
    pairs = _pairwise(scores, rows_per_outcome)
    target = _target(pairs, np.zeros(n, dtype=np.int64) if groups is None else np.asarray(groups))
    intensity = _intensity(pairs, target)
    shrunk = np.where(pairs.known, pairs.correlation, target) * (1.0 - intensity) + target * intensity
    np.fill_diagonal(shrunk, 1.0)
    return nearest_correlation(shrunk)


def _pairwise(scores: FloatArray, rows_per_outcome: float) -> _Pairs:
    here = np.isfinite(scores)
    mask, z = here.astype(float), np.where(here, scores, 0.0)
    rows = mask.T @ mask
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (z.T @ mask) / rows  # of the first over the days shared with the second
        variance = ((z**2).T @ mask) / rows - mean**2
        correlation = ((z.T @ z) / rows - mean * mean.T) / np.sqrt(variance * variance.T)
    outcomes = rows / max(rows_per_outcome, 1.0)
    varies = (variance > 1e-12) & (variance.T > 1e-12)
    known = varies & (outcomes >= 3) & np.isfinite(correlation) & ~np.eye(len(rows), dtype=bool)
    return _Pairs(np.clip(np.where(known, correlation, 0.0), -1.0, 1.0), outcomes, known)


def _target(pairs: _Pairs, groups: IntArray) -> FloatArray:
    """Return the mean correlation of the groups of each pair, drawn to the mean of all pairs."""
    weight = np.where(pairs.known, pairs.outcomes - 1.0, 0.0)
    overall = float((weight * pairs.correlation).sum() / max(weight.sum(), 1e-300))
    names, code = np.unique(groups, return_inverse=True)
    member = np.eye(len(names))[code]
    total, mass = member.T @ (weight * pairs.correlation) @ member, member.T @ weight @ member
    mean = (total + _TARGET_WEIGHT * overall) / (mass + _TARGET_WEIGHT)
    return np.asarray(mean[np.ix_(code, code)])


def _intensity(pairs: _Pairs, target: FloatArray) -> FloatArray:
    """Return how far each pair is drawn to its target, 0 … 1; 1 where nothing is known of the pair."""
    noise = (1.0 - target**2) ** 2 / np.maximum(pairs.outcomes - 1.0, 1.0)
    if not pairs.known.any():
        return np.ones_like(target)
    surplus = ((pairs.correlation - target) ** 2 - noise)[pairs.known]
    # Long overlaps tell more of the true spread than short ones.
    spread = max(float(np.average(surplus, weights=1.0 / (noise[pairs.known] + 1e-12))), 0.0)
    return np.where(pairs.known, noise / np.maximum(noise + spread, 1e-300), 1.0)


def nearest_correlation(matrix: FloatArray, min_eigenvalue: float = MIN_EIGENVALUE) -> FloatArray:
    """Return a positive definite correlation close to a symmetric matrix.

    Eigenvalues below ``min_eigenvalue`` are raised to it and the diagonal is scaled back to 1; a matrix that needs
    none of it comes back as it is.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        Symmetric, unit diagonal, finite.
    min_eigenvalue : float
        Positive.
    """
    symmetric = 0.5 * (matrix + matrix.T)
    values, vectors = np.linalg.eigh(symmetric)
    if not len(values) or values[0] >= min_eigenvalue:
        return np.asarray(symmetric)
    raised = (vectors * np.maximum(values, min_eigenvalue)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(raised))
    correlation = 0.5 * (raised + raised.T) * scale[:, None] * scale
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


def check_correlation(matrix: FloatArray, n: int) -> FloatArray:
    """Return ``matrix`` as floats if it is a correlation matrix of n strategies.

    Raises
    ------
    RequestError
        Naming what is wrong: the shape, NaN, symmetry, the diagonal, or the smallest eigenvalue.
    """
    c = np.asarray(matrix, dtype=float)
    if c.shape != (n, n):
        raise RequestError("correlation", c.shape, f"a matrix of shape {(n, n)}")
    if not np.isfinite(c).all():
        raise RequestError("correlation", "NaN or infinite entries", "finite numbers from -1 to 1")
    if n and (np.abs(c - c.T).max() > _SYMMETRY_TOLERANCE or np.abs(np.diag(c) - 1.0).max() > _SYMMETRY_TOLERANCE):
        raise RequestError("correlation", "an asymmetric matrix or a diagonal other than 1", "symmetric, diagonal 1")
    try:
        np.linalg.cholesky(c + _PSD_TOLERANCE * np.eye(n))
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(c)[0])
        raise RequestError(
            "correlation",
            f"smallest eigenvalue {smallest:.6g}",
            "a positive semi-definite matrix (no eigenvalue below 0); see nearest_correlation",
        ) from None
    return c


def sample_ranks(correlation: FloatArray, n_scenarios: int, rng: np.random.Generator) -> IntArray:
    """Draw joint ranks from the Gaussian copula, every rank of a column exactly once.

    Antithetic normals, whitened so that their sample correlation is exactly the one asked for (where there are enough
    scenarios for it), are replaced by their ranks within each column (Iman & Conover 1982): marginals carry no
    sampling error at all, and the dependence little.

    Parameters
    ----------
    correlation : ndarray of shape (n, n)
        See :func:`check_correlation`; it may be singular.
    n_scenarios : int
        At least 1.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (n_scenarios, n)
        Each column a permutation of 0 … n_scenarios - 1. Row i and row i + ⌈n_scenarios/2⌉ mirror each other.

    Raises
    ------
    RequestError
        If the correlation is none or there is no scenario.
    """
    if n_scenarios < 1:
        raise RequestError("n_scenarios", n_scenarios, "a whole number, at least 1")
    n = len(correlation)
    factor = _root(check_correlation(correlation, n))
    half = -(-n_scenarios // 2)
    normals = rng.standard_normal((half, n))
    if half > _WHITENING_SPARE * n:
        chol = np.linalg.cholesky(normals.T @ normals / half)
        normals = np.linalg.solve(chol, normals.T).T
    mixed = factor @ normals.T
    both = np.concatenate([mixed, -mixed], axis=1)[:, :n_scenarios]
    # Equal columns of a singular correlation must get equal ranks: rounding must not break their ties.
    order = np.argsort(np.round(both, 9), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(n_scenarios)[None, :], axis=1)
    return np.asarray(ranks.T)


def _root(correlation: FloatArray) -> FloatArray:
    """Return F with F Fᵀ = correlation, also for a singular one."""
    try:
        return np.asarray(np.linalg.cholesky(correlation))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(correlation)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
