"""A candidate's income as segments: so many dollars at such a marginal rate, then so many at the next.

The income of a position ``x`` is ``x * rate(x - held)``. Between breakpoints it is replaced by its chord, which is
exact at the breakpoints and never above a concave curve, so what is promised is at least earned. Where the marginal
rate rises from one segment to the next (a pool above its kink) the later one may only follow the earlier: an order, not
a curve, says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.portfolio.problem import Candidate
from aegis_yield.utils.typing import FloatArray

COARSE: Final = 8
"""Segments of the first pass."""

FINE: Final = 8
"""Further segments around the answer of the pass before."""

_FINE_REACH: Final = 0.25
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
    rises: np.ndarray


def segments_of(candidate: Candidate, held_usd: float, cap_usd: float, near_usd: float | None = None) -> Segments:
    """Cut a candidate's income on ``[0, cap]`` into segments.

    Parameters
    ----------
    candidate : Candidate
        Its curve gives the simple rate a year after a further deposit.
    held_usd : float
        What is there already: a position smaller than that is a withdrawal from the pool.
    cap_usd : float
        Largest position, above 0.
    near_usd : float, optional
        A position around which the segments are to be fine.
    """
    breaks = _breaks(candidate, held_usd, cap_usd, near_usd)
    income = breaks * candidate.curve.rate(breaks - held_usd)
    length = np.diff(breaks)
    rate = np.diff(income) / length
    now = float(candidate.curve.rate(np.zeros(1))[0])
    multiple = rate / now if now > 0 else np.ones_like(rate)
    rises = np.concatenate([[False], np.diff(rate) > _RISE_TOLERANCE * (1.0 + np.abs(rate[1:]))])
    return Segments(length, rate, multiple, rises)


def _breaks(candidate: Candidate, held_usd: float, cap_usd: float, near_usd: float | None) -> FloatArray:
    # Pools are diluted from the first dollar on, most of it early: finer near zero.
    grid = [cap_usd * np.linspace(0.0, 1.0, COARSE + 1) ** 2]
    kinks = np.asarray(candidate.curve.kinks_usd(cap_usd), dtype=float) + held_usd
    grid.append(kinks[(kinks > 0) & (kinks < cap_usd)])
    if 0 < held_usd < cap_usd:
        grid.append(np.array([held_usd]))
    if near_usd is not None:
        reach = _FINE_REACH * max(near_usd, cap_usd / COARSE**2)
        grid.append(np.clip(near_usd + reach * np.linspace(-1.0, 1.0, FINE + 1), 0.0, cap_usd))
    breaks = np.unique(np.concatenate(grid))
    keep = np.concatenate([[True], np.diff(breaks) > _SHORTEST_SHARE * cap_usd])
    breaks = breaks[keep]
    breaks[-1] = cap_usd
    return np.asarray(breaks, dtype=float)
