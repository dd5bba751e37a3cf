"""A candidate's income as segments: so many dollars at such a marginal rate, then so many at the next.

The income of a position ``x`` is ``x * rate(x - held)``. Between breakpoints it is replaced by its chord, which is
exact at the breakpoints and never above a concave curve, so what is promised is at least earned. Where the marginal
rate rises from one segment to the next (a pool above its kink) the later one may only follow the earlier: an order, not
a curve, says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.portfolio.problem import Candidate
from aegis_yield.utils.typing import BoolArray, FloatArray

COARSE: Final = 8
"""Segments of the first pass."""

FINE: Final = 8
"""Into so many a segment is cut that is not straight enough where the answer lies."""

MOST_EVEN: Final = 48
"""No segment is halved once there are so many."""

_RISE_TOLERANCE: Final = 1e-9
_SHORTEST_SHARE: Final = 1e-7


@dataclass(frozen=True)
class Segments:
    """One candidate's income in pieces.

    Attributes
    ----------
    length_usd : ndarray of shape (k,)
        Of each segment, from the first dollar on.
    rate : ndarray of shape (k,)
        Mean marginal income of each, simple, a year.
    multiple : ndarray of shape (k,)
        The same over the rate before one's own deposit: by it a scenario's rate is diluted.
    rises : ndarray of shape (k,)
        Whether the rate is above that of the segment before.
    """

    length_usd: FloatArray
    rate: FloatArray
    multiple: FloatArray
    rises: BoolArray


def segments_of(candidate: Candidate, held_usd: float, breaks_usd: FloatArray) -> Segments:
    """Cut a candidate's income into segments.

    Parameters
    ----------
    candidate : Candidate
        Its curve gives the simple rate a year after a further deposit.
    held_usd : float
        What is there already: a position smaller than that is a withdrawal from the pool.
    breaks_usd : ndarray of shape (k + 1,)
        Positions at which to cut, rising from 0.
    """
    length = np.diff(breaks_usd)
    rate = np.diff(_income(candidate, held_usd, breaks_usd)) / length
    now = float(candidate.curve.rate(np.zeros(1))[0])
    multiple = rate / now if now > 0 else np.ones_like(rate)
    rises = np.concatenate([[False], np.diff(rate) > _RISE_TOLERANCE * (1.0 + np.abs(rate[1:]))])
    return Segments(length, rate, multiple, rises)


def coarse_breaks(candidate: Candidate, held_usd: float, cap_usd: float, marks_usd: Sequence[float] = ()) -> FloatArray:
    """Return where to cut a candidate's income at first, shape (k + 1,): finer near zero, and where it bends.

    Parameters
    ----------
    candidate : Candidate
        Its curve knows its kinks.
    held_usd : float
        What is there already.
    cap_usd : float
        Largest position, above 0.
    marks_usd : sequence of float
        Further positions at which something changes.
    """
    # Pools are diluted from the first dollar on, most of it early.
    grid = cap_usd * np.linspace(0.0, 1.0, COARSE + 1) ** 2
    bends = [held_usd, *marks_usd, *(held_usd + kink for kink in candidate.curve.kinks_usd(cap_usd))]
    return joined(grid, np.array([bend for bend in bends if 0.0 < bend < cap_usd]))


def finer_breaks(
    candidate: Candidate, held_usd: float, breaks_usd: FloatArray, position_usd: float, tolerance_usd: float
) -> FloatArray:
    """Return breaks with each segment cut that a position touches, unless it is straight; the same if all are.

    Parameters
    ----------
    candidate, held_usd : Candidate, float
        As for :func:`segments_of`.
    breaks_usd : ndarray of shape (k + 1,)
        Where it is cut now.
    position_usd : float
        The answer of the pass before.
    tolerance_usd : float
        A segment is straight if the income of a year at its middle is so near to the chord.
    """
    start, end = breaks_usd[:-1], breaks_usd[1:]
    reach = _SHORTEST_SHARE * breaks_usd[-1]
    touches = (start - reach <= position_usd) & (position_usd <= end + reach)
    cut = np.flatnonzero(touches & (_bends(candidate, held_usd, breaks_usd) > tolerance_usd))
    if not len(cut):
        return breaks_usd
    return joined(breaks_usd, np.concatenate([np.linspace(start[k], end[k], FINE + 1) for k in cut]))


def even_breaks(candidate: Candidate, held_usd: float, breaks_usd: FloatArray, tolerance_usd: float) -> FloatArray:
    """Return breaks halved wherever a segment is not straight, be the position there or not.

    Parameters
    ----------
    candidate, held_usd, breaks_usd, tolerance_usd : Candidate, float, ndarray, float
        As for :func:`finer_breaks`.
    """
    while len(breaks_usd) <= MOST_EVEN:
        middle = 0.5 * (breaks_usd[:-1] + breaks_usd[1:])
        more = middle[_bends(candidate, held_usd, breaks_usd) > tolerance_usd]
        halved = joined(breaks_usd, more)
        if len(halved) == len(breaks_usd):
            break
        breaks_usd = halved
    return breaks_usd


def _bends(candidate: Candidate, held_usd: float, breaks_usd: FloatArray) -> FloatArray:
    """Return how far the income at the middle of each segment is from its chord."""
    income = _income(candidate, held_usd, breaks_usd)
    middle = _income(candidate, held_usd, 0.5 * (breaks_usd[:-1] + breaks_usd[1:]))
    bends: FloatArray = np.abs(middle - 0.5 * (income[:-1] + income[1:]))
    return bends


def joined(breaks_usd: FloatArray, more_usd: FloatArray) -> FloatArray:
    """Return breaks from both, none too near to the one before; the last of the first stays the last."""
    breaks = np.unique(np.concatenate([breaks_usd, more_usd]))
    last = breaks_usd[-1]
    apart = np.diff(breaks, prepend=-np.inf) > _SHORTEST_SHARE * last
    kept: FloatArray = breaks[apart & (breaks < last * (1.0 - _SHORTEST_SHARE))]
    return np.append(kept, last)


def _income(candidate: Candidate, held_usd: float, positions_usd: FloatArray) -> FloatArray:
    income: FloatArray = positions_usd * candidate.curve.rate(positions_usd - held_usd)
    return income
