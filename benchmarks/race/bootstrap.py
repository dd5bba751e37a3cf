"""Paired block bootstrap of the geometric-mean ratio of two methods' losses.

Forecasts of one week share the market, and those of neighbouring weeks share its mood and, at long horizons, days of
their outcomes. So whole calendar blocks are drawn with replacement, the same for both methods and all strategies
(Künsch 1989; here with blocks of the calendar), and the ratio is computed anew for each draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.models.scores import MIN_NAIVE_ERROR
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

N_DRAWS: Final = 2_000
LEVEL: Final = 0.95
LEAST_RATIO: Final = 1e-3
"""As in :func:`aegis_yield.models.scores.relative_scores`: no lucky strategy carries a geometric mean."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of losses with its interval.

    Attributes
    ----------
    value, low, high : float
        NaN where no strategy is scored.
    n_strategies, n_rows, n_blocks : int
        What it rests on.
    """

    value: float
    low: float
    high: float
    n_strategies: int
    n_rows: int
    n_blocks: int


@dataclass(frozen=True)
class Pairing:
    """Rows on which two methods meet.

    Attributes
    ----------
    strategy : ndarray of int, shape (n,)
        Code of each row's strategy.
    block : ndarray of int, shape (n,)
        Calendar block of each row.
    naive_error : ndarray of shape (n,)
        Absolute error of the last value: a strategy that stood still in all blocks of a draw does not count in it.
    scored : ndarray of bool, shape (n_strategies,)
        Strategies that count.
    """

    strategy: IntArray
    block: IntArray
    naive_error: FloatArray
    scored: BoolArray

    def ratio(self, loss: FloatArray, other: FloatArray, n_draws: int = N_DRAWS, seed: int = 0) -> Ratio:
        """Compare two methods' losses.

        Parameters
        ----------
        loss, other : ndarray of shape (n,)
            Losses of both on the same rows; the ratio is loss over other.
        n_draws, seed : int
            Of the bootstrap.

        Returns
        -------
        Ratio
            The geometric mean over scored strategies of mean loss over mean loss, with the percentile
            interval over draws of blocks.
        """
        keep = self.scored[self.strategy]
        names, code = np.unique(self.strategy[keep], return_inverse=True)
        blocks, block = np.unique(self.block[keep], return_inverse=True)
        if not len(names):
            return Ratio(float("nan"), float("nan"), float("nan"), 0, 0, 0)
        # How often a draw takes each block; the first "draw" is the sample itself.
        often = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), n_draws)
        often = np.concatenate([np.ones((1, len(blocks)), dtype=often.dtype), often])
        moved = self.naive_error[keep] - MIN_NAIVE_ERROR  # its sum is positive where the mean is above the least
        sums = [_sums(values, block, code, often) for values in (loss[keep], other[keep], moved)]
        ratios = _geometric_mean_ratio(*sums)
        low, high = np.nanquantile(ratios[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Ratio(float(ratios[0]), float(low), float(high), len(names), int(keep.sum()), len(blocks))


def _sums(values: FloatArray, block: IntArray, code: IntArray, often: IntArray) -> FloatArray:
    """Return the sum over each draw's rows of every strategy, shape (n_draws, n_strategies)."""
    n_blocks, n_codes = often.shape[1], int(code.max()) + 1
    flat = np.bincount(block * n_codes + code, weights=values, minlength=n_blocks * n_codes)
    return np.asarray(often @ flat.reshape(n_blocks, n_codes), dtype=float)


def _geometric_mean_ratio(loss: FloatArray, other: FloatArray, moved: FloatArray) -> FloatArray:
    """Return the geometric mean along the last axis over strategies that moved; NaN if none did."""
    counts = (other > 0) & (moved > 0)
    ratio = np.divide(loss, other, out=np.full(loss.shape, np.nan), where=counts)
    log_ratio = np.log(np.maximum(ratio, LEAST_RATIO))
    total, count = np.nansum(log_ratio, axis=-1), counts.sum(axis=-1)
    return np.asarray(np.exp(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)))
