"""The stationary bootstrap: resampled days that keep the dependence of neighbouring days."""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray, IntArray

DEFAULT_BLOCK_DAYS: Final = 10.0
"""Expected length of a block: rates and pegs of DeFi forget most of a shock within about so many days."""


def stationary_indices(n_rows: int, shape: tuple[int, int], mean_block: float, rng: np.random.Generator) -> IntArray:
    """Draw rows of a history in blocks of random length (Politis & Romano 1994).

    Each step starts a new block at a random row with probability ``1 / mean_block``, else goes on to the next row;
    after the last row comes the first. The lengths of blocks are geometric with this mean, and every row is drawn
    equally often.

    Parameters
    ----------
    n_rows : int
        Rows of the history, at least 1.
    shape : tuple of int
        (n_paths, n_steps).
    mean_block : float
        Expected length of a block in rows, at least 1; 1 draws independent rows.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (n_paths, n_steps)
        Rows, 0 … n_rows - 1. All strategies read the same rows: what moved together stays together.

    Raises
    ------
    RequestError
        If there is no row or the block is shorter than one row.
    """
    if n_rows < 1:
        raise RequestError("n_rows", n_rows, "at least 1 day of history")
    if not mean_block >= 1.0:
        raise RequestError("mean_block", mean_block, "a number of days, at least 1")
    steps = np.arange(shape[1])
    starts_here = rng.random(shape) < 1.0 / mean_block
    starts_here[:, :1] = True
    start_row = rng.integers(n_rows, size=shape)
    last_start = np.maximum.accumulate(np.where(starts_here, steps, 0), axis=1)
    rows = np.take_along_axis(start_row, last_start, axis=1) + (steps - last_start)
    return np.asarray(rows % n_rows)


def sums_over(rows: IntArray, values: FloatArray) -> FloatArray:
    """Sum a history over each path's rows.

    Parameters
    ----------
    rows : ndarray of int, shape (n_paths, n_steps)
    values : ndarray of shape (n_rows, n)

    Returns
    -------
    ndarray of shape (n_paths, n)
        ``values[rows].sum(axis=1)``, by counting how often each path uses each row: no array of
        shape (n_paths, n_steps, n) is made. NaN wherever any value of a column is NaN.
    """
    n_paths, n_rows = len(rows), len(values)
    flat = (rows + n_rows * np.arange(n_paths)[:, None]).ravel()
    counts = np.bincount(flat, minlength=n_paths * n_rows).reshape(n_paths, n_rows)
    return np.asarray(counts.astype(float) @ values)
