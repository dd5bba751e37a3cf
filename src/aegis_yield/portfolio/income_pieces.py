"""A pool's income cut into pieces on which it is concave and rises, and the best fill of one piece per pool.

On a concave piece marginal income falls, so the best deposits of a *fixed* choice of pieces all pay the same marginal
income, the cut-off. It is found by zooming: sample every pool's marginal income on a grid, bracket the cut-off
between two values between which the sum of deposits passes the capital, keep each pool's bracket of deposits, and
sample again inside. Every round shrinks all brackets by about the number of grid points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from aegis_yield.portfolio.rate_curve import RateCurve, income_usd
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

_TABLE_POINTS: Final = 129
_ZOOM_POINTS: Final = 33
_MAX_ROUNDS: Final = 20
_BRACKET: Final = 1e-13
_INSIDE: Final = 1e-11
_NOISE: Final = 1e-9
_HELD: Final = 1e-9


@dataclass(frozen=True)
class Piece:
    """A stretch of deposits of one pool on which its marginal income falls.

    Attributes
    ----------
    curve : RateCurve
        The pool's curve.
    low, high : float
        The stretch, USD; the same where it is a point.
    deposit, marginal : ndarray of shape (n_points,)
        A table of it: rising deposits, falling marginal income.
    """

    curve: RateCurve
    low: float
    high: float
    deposit: FloatArray
    marginal: FloatArray

    def marginal_at(self, deposit: FloatArray) -> FloatArray:
        """Return the marginal income, from inside the piece at its ends; never rising along a rising deposit."""
        inset = _INSIDE * (self.high - self.low)
        within = np.clip(deposit, self.low + inset, self.high - inset)
        falling: FloatArray = np.minimum.accumulate(self.curve.marginal(within))
        return falling

    def surplus(self, cutoff: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the most that the piece earns over a cut-off charged on each dollar.

        Parameters
        ----------
        cutoff : ndarray of shape (n,)
            Rising cut-offs, rates per year, at least 0.

        Returns
        -------
        most : ndarray of shape (n,)
            An upper bound of ``max_x f(x) - cutoff * x``: its value at a near-best deposit, plus what the tangent there
            leaves possible inside that deposit's cell of the table.
        deposit : ndarray of shape (n,)
            The near-best deposits.
        """
        if self.high <= self.low:
            most: FloatArray = float(income_usd(self.curve, np.full(1, self.low))[0]) - cutoff * self.low
            return most, np.full_like(cutoff, self.low)
        best = np.interp(-cutoff, -self.marginal, self.deposit)
        cell = np.clip(np.searchsorted(-self.marginal, -cutoff), 1, len(self.deposit) - 1)
        inset = _INSIDE * (self.high - self.low)
        miss = self.curve.marginal(np.clip(best, self.low + inset, self.high - inset)) - cutoff
        room = np.where(miss > 0.0, self.deposit[cell] - best, self.deposit[cell - 1] - best)
        most = income_usd(self.curve, best) - cutoff * best + np.maximum(miss * room, 0.0)
        return most, best


def pieces_of(curve: RateCurve, limit_usd: float) -> list[Piece]:
    """Cut a pool's income on [0, limit] into concave, rising pieces.

    Deposits beyond the most profitable one are left out (what earns nothing need not be deposited), and so are
    stretches on which income falls or bends up: no best split lies inside them.

    Parameters
    ----------
    curve : RateCurve
        The pool.
    limit_usd : float
        The largest deposit, finite, at least 0.

    Returns
    -------
    list of Piece
        At least one, rising; the point 0 where nothing can be earned.
    """
    ends = (0.0, *curve.kinks_usd(limit_usd), limit_usd)
    pieces: list[Piece] = []
    for low, high in pairwise(ends):
        for start, end in _falling_stretches(curve, low, high):
            pieces.append(_tabled(curve, start, end))
    nothing = Piece(curve, 0.0, 0.0, np.zeros(1), np.zeros(1))
    return _worthwhile(pieces) or [nothing]


def _worthwhile(pieces: list[Piece]) -> list[Piece]:
    """Drop pieces whose every deposit earns no more than some smaller deposit does."""
    kept: list[Piece] = []
    earned = 0.0
    for piece in pieces:
        most = float(income_usd(piece.curve, piece.deposit).max())
        if most > earned:
            kept.append(piece)
            earned = most
    if kept and kept[0].low > 0.0:  # nothing at all must remain possible
        kept.insert(0, Piece(kept[0].curve, 0.0, 0.0, np.zeros(1), np.zeros(1)))
    return kept


def _falling_stretches(curve: RateCurve, low: float, high: float) -> list[tuple[float, float]]:
    """Return the stretches of [low, high] on which marginal income falls and is positive at the start."""
    deposit = _spread(low, high)
    inset = _INSIDE * (high - low)
    marginal = curve.marginal(np.clip(deposit, low + inset, high - inset))
    rises = np.diff(marginal) > _NOISE * float(np.max(np.abs(marginal)))
    cuts = [0, *(np.flatnonzero(rises) + 1).tolist(), len(deposit)]
    stretches = []
    for start, stop in pairwise(cuts):
        part = marginal[start:stop]
        if len(part) < 2 or part[0] <= 0.0:
            continue
        last = int(np.argmax(part <= 0.0)) if part[-1] <= 0.0 else len(part) - 1
        stretches.append((float(deposit[start]), float(deposit[start + last])))
    return stretches


def _spread(low: float, high: float) -> FloatArray:
    """Return deposits from low to high, closer together at first, where a small pool bends most."""
    steps: FloatArray = np.linspace(0.0, 1.0, _TABLE_POINTS)
    points: FloatArray = low + (high - low) * np.expm1(6.0 * steps) / np.expm1(6.0)
    points[-1] = high
    return points


def _tabled(curve: RateCurve, low: float, high: float) -> Piece:
    """Table a piece at points that split both its deposits and its marginal income evenly."""
    first = _spread(low, high)
    raw = Piece(curve, low, high, first, first)
    marginal = raw.marginal_at(first)
    levels = np.linspace(marginal[-1], marginal[0], _TABLE_POINTS)
    even = np.interp(levels, marginal[::-1], first[::-1])
    points = np.sort(np.concatenate([first[::2], even[1:-1:2], np.full(1, high)]))
    return Piece(curve, low, high, points, raw.marginal_at(points))


@dataclass(frozen=True)
class Fill:
    """The best deposits for one chosen piece per pool.

    Attributes
    ----------
    deposit_usd : ndarray of shape (n_pools,)
        Deposits.
    cutoff : float
        Marginal income of the last dollar, per year; 0 where capital is left over.
    income : float
        Income per year, USD.
    bound : float
        What no fill of these pieces can exceed, USD per year, by Lagrangian duality.
    """

    deposit_usd: FloatArray
    cutoff: float
    income: float
    bound: float


def fill(pieces: list[Piece], capital_usd: float) -> Fill | None:
    """Fill one piece per pool with the capital, exactly.

    Parameters
    ----------
    pieces : list of Piece
        One per pool.
    capital_usd : float
        What may be deposited in all.

    Returns
    -------
    Fill or None
        None where the pieces begin beyond the capital.
    """
    low = np.array([piece.low for piece in pieces])
    high = np.array([piece.high for piece in pieces])
    if low.sum() > capital_usd * (1.0 + 1e-12):
        return None
    steps = np.linspace(0.0, 1.0, _ZOOM_POINTS)
    below = above = 0.0
    for _ in range(_MAX_ROUNDS):
        grid = low[:, None] + (high - low)[:, None] * steps  # (pools, points)
        marginal = np.stack([piece.marginal_at(row) for piece, row in zip(pieces, grid, strict=True)])
        below, above = _bracket(grid, marginal, capital_usd)
        first, last = _count(marginal > above) - 1, _count(marginal >= below)
        pools = np.arange(len(pieces))
        first, last = np.maximum(first, 0), np.minimum(last, _ZOOM_POINTS - 1)
        low, high = grid[pools, first], grid[pools, last]
        bends = marginal[pools, first] - marginal[pools, last] > _BRACKET * marginal.max()
        if float((high - low)[bends].sum()) <= _BRACKET * capital_usd:
            break
    return _finish(pieces, low, high, capital_usd, 0.5 * (below + above))


def _count(holds: BoolArray) -> IntArray:
    """Return for each pool at how many of its deposits a condition holds."""
    number: IntArray = holds.sum(axis=1)
    return number


def _bracket(grid: FloatArray, marginal: FloatArray, capital_usd: float) -> tuple[float, float]:
    """Return two of the sampled cut-offs between which the best one lies.

    At the upper one even deposits that may just miss it fit the capital. At the lower one deposits that surely reach it
    fill the capital, or it is 0.
    """
    levels = np.unique(np.concatenate([np.zeros(1), marginal[marginal > 0.0]]))
    pools = np.arange(len(grid))

    def fits(cutoff: float) -> bool:
        index = np.minimum(_count(marginal > cutoff), grid.shape[1] - 1)
        return bool(grid[pools, index].sum() <= capital_usd)

    def leaves_over(cutoff: float) -> bool:
        index = np.maximum(_count(marginal >= cutoff) - 1, 0)
        return bool(grid[pools, index].sum() < capital_usd)

    below = levels[max(_first(levels, leaves_over) - 1, 0)]
    above = levels[min(_first(levels, fits), len(levels) - 1)]
    return float(below), float(above)


def _first(levels: FloatArray, holds: Callable[[float], bool]) -> int:
    """Return the first level for which a condition holds that, once true, stays true (their number if none)."""
    start, stop = 0, len(levels)
    while start < stop:
        middle = (start + stop) // 2
        if holds(float(levels[middle])):
            stop = middle
        else:
            start = middle + 1
    return start


def _finish(pieces: list[Piece], low: FloatArray, high: FloatArray, capital_usd: float, cutoff: float) -> Fill:
    """Spend what the brackets leave open, and bound what any other fill could earn."""
    open_usd = float((high - low).sum())
    share = min(max(capital_usd - float(low.sum()), 0.0) / open_usd, 1.0) if open_usd > 0.0 and cutoff > 0.0 else 0.0
    deposits = low + share * (high - low)
    if cutoff > 0.0:
        cutoff = max(cutoff, _of_last_dollar(pieces, deposits, capital_usd))
    income, bound = 0.0, cutoff * capital_usd
    for piece, deposit in zip(pieces, deposits, strict=True):
        at = np.full(1, deposit)
        earned = float(income_usd(piece.curve, at)[0])
        income += earned
        bound += earned - cutoff * float(deposit)
        if piece.high > piece.low:
            miss = float(piece.marginal_at(at)[0]) - cutoff
            bound += max(miss * ((piece.high if miss > 0.0 else piece.low) - float(deposit)), 0.0)
    return Fill(deposits, cutoff, income, bound)


def _of_last_dollar(pieces: list[Piece], deposits: FloatArray, capital_usd: float) -> float:
    """Return the least marginal income among deposits.

    Where all deposits stand at the ends of their pieces any cut-off down to the best pool left out would do as well.
    """
    held = [
        float(piece.marginal_at(np.full(1, deposit))[0])
        for piece, deposit in zip(pieces, deposits, strict=True)
        if deposit - piece.low > _HELD * capital_usd
    ]
    return min(held, default=0.0)
