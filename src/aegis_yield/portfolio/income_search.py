"""Search over the choice of concave pieces: which pools are taken past their kink.

Charge a cut-off λ on each dollar and every pool becomes its own problem, so for every λ

    D(λ) = λ capital + sum_i max over allowed pieces of (f_i(x) - λ x)

bounds every split from above. These surpluses are computed once on a grid of λ, to which the values where a pool is
undecided between two pieces are added (D has its corners there). A branch of the search, pools bound to some of their
pieces, then costs one addition. Branches whose bound does not beat the best split found are cut; the choices that a
branch suggests are filled exactly. The largest bound that was cut is the certificate.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aegis_yield.portfolio.income_pieces import Fill, Piece, fill
from aegis_yield.utils.typing import FloatArray

_WIDE: Final = 256
_CLOSE: Final = 384
_NEAR: Final = 4.0
_TIE_STEPS: Final = 2
_SMALLEST_CUTOFF: Final = 1e-6
_MAX_FILLS: Final = 100


@dataclass(order=True)
class _Branch:
    """Pools bound to some of their pieces; the heap takes the largest bound first."""

    key: float
    order: int
    allowed: dict[int, tuple[int, ...]] = field(compare=False)
    total: FloatArray = field(compare=False)
    """D over the grid of cut-offs, shape (n_cutoffs,)."""

    @property
    def bound(self) -> float:
        """What no split within the branch earns more than."""
        return -self.key


class Search:
    """Best-first search over the choice of pieces.

    Parameters
    ----------
    pieces : list of list of Piece
        Each pool's pieces, the first of which begins at 0.
    capital_usd : float
        What may be deposited in all, above 0.
    tolerance : float
        Relative gap at which to stop.
    """

    def __init__(self, pieces: list[list[Piece]], capital_usd: float, tolerance: float) -> None:
        self.pieces = pieces
        self.capital_usd = capital_usd
        self.tolerance = tolerance
        self.branches = 0
        self._best: Fill | None = None
        self._bound = 0.0  # the largest bound of what was cut off or filled
        self._bound_of: dict[tuple[int, ...], float] = {}  # of each choice that was filled
        self._cutoffs, self._surplus, self._deposit = _surpluses(pieces, capital_usd)

    def run(self, max_branches: int) -> tuple[Fill, float]:
        """Search, and return the best fill with the bound of all splits."""
        everything = {i: tuple(range(len(choice))) for i, choice in enumerate(self.pieces) if len(choice) > 1}
        total = self._cutoffs * self.capital_usd + sum(surplus.max(axis=0) for surplus in self._surplus)
        self._try(tuple(0 for _ in self.pieces))
        heap = [_Branch(-float(total.min()), 0, everything, total)]
        while heap:
            branch = heapq.heappop(heap)
            if not self._beats(branch.bound) or self.branches >= max_branches:
                self._bound = max(self._bound, branch.bound)
                break  # best first: no branch left has a larger bound
            self.branches += 1
            for child in self._children(branch):
                if self._beats(child.bound):
                    heapq.heappush(heap, child)
                else:
                    self._bound = max(self._bound, child.bound)
        assert self._best is not None  # the first choice begins at 0 everywhere, so it fits
        return self._best, max(self._bound, self._best.income)

    def _beats(self, bound: float) -> bool:
        return self._best is None or bound > self._best.income * (1.0 + 0.5 * self.tolerance)

    def _children(self, branch: _Branch) -> list[_Branch]:
        """Try the choices that the branch's own cut-off suggests; split it at the pool that is least decided."""
        at = int(np.argmin(branch.total))
        chosen = self._chosen(branch.allowed, at)
        self._try(chosen)
        open_pools = [i for i, allowed in branch.allowed.items() if len(allowed) > 1]
        if not open_pools:
            self._bound = max(self._bound, self._bound_of.get(chosen, branch.bound))
            return []
        self._try(self._packed(chosen, {i: branch.allowed[i] for i in open_pools}, at))
        pool = min(open_pools, key=lambda i: self._lead(i, branch.allowed[i], at))
        rest = tuple(piece for piece in branch.allowed[pool] if piece != chosen[pool])
        children = (self._bound_to(branch, pool, kept, n) for n, kept in enumerate(((chosen[pool],), rest)))
        return [child for child in children if child is not None]

    def _chosen(self, allowed: dict[int, tuple[int, ...]], at: int) -> tuple[int, ...]:
        """Return each pool's best allowed piece at a cut-off."""
        chosen = [0] * len(self.pieces)
        for i, pieces in allowed.items():
            chosen[i] = pieces[int(np.argmax(self._surplus[i][list(pieces), at]))]
        return tuple(chosen)

    def _two_best(self, pool: int, allowed: tuple[int, ...], at: int) -> tuple[int, int]:
        """Return a pool's two best allowed pieces at a cut-off, best first."""
        order = np.argsort(-self._surplus[pool][list(allowed), at], kind="stable")
        return allowed[int(order[0])], allowed[int(order[1])]

    def _lead(self, pool: int, allowed: tuple[int, ...], at: int) -> float:
        """Return by how much a pool's best piece leads the next one at a cut-off."""
        first, second = self._two_best(pool, allowed, at)
        return float(self._surplus[pool][first, at] - self._surplus[pool][second, at])

    def _packed(self, chosen: tuple[int, ...], open_pools: dict[int, tuple[int, ...]], at: int) -> tuple[int, ...]:
        """Return a choice whose deposits at this cut-off fit the capital: large pieces first where they lead most."""
        packed = list(chosen)
        larger: list[tuple[float, float, int, int]] = []
        for i, allowed in open_pools.items():
            small, large = sorted(self._two_best(i, allowed, at))  # pieces are numbered by rising deposits
            packed[i] = small
            more = self._surplus[i][large, at] - self._surplus[i][small, at]
            extra = float(self._deposit[i][large, at] - self._deposit[i][small, at])
            larger.append((float(more) / max(extra, 1e-300), extra, i, large))
        left = self.capital_usd - sum(float(self._deposit[i][k, at]) for i, k in enumerate(packed))
        for _, extra, i, large in sorted(larger, reverse=True):
            if extra <= left:
                packed[i] = large
                left -= extra
        return tuple(packed)

    def _try(self, chosen: tuple[int, ...]) -> None:
        """Fill one choice of pieces exactly, unless that was done or its bound says that it cannot win."""
        if chosen in self._bound_of or len(self._bound_of) >= _MAX_FILLS:
            return
        rough = self._cutoffs * self.capital_usd + sum(s[k] for s, k in zip(self._surplus, chosen, strict=True))
        if not self._beats(float(rough.min())):
            return
        found = fill([choice[k] for choice, k in zip(self.pieces, chosen, strict=True)], self.capital_usd)
        self._bound_of[chosen] = 0.0 if found is None else min(found.bound, float(rough.min()))
        if found is not None and (self._best is None or found.income > self._best.income):
            self._best = found

    def _bound_to(self, branch: _Branch, pool: int, kept: tuple[int, ...], order: int) -> _Branch | None:
        """Bind a pool to some of its pieces; None where those begin beyond the capital."""
        allowed = {**branch.allowed, pool: kept}
        if sum(self.pieces[i][min(some)].low for i, some in allowed.items()) > self.capital_usd:
            return None
        surplus = self._surplus[pool]
        total = branch.total + surplus[list(kept)].max(axis=0) - surplus[list(branch.allowed[pool])].max(axis=0)
        return _Branch(-float(total.min()), 2 * self.branches + order, allowed, total)


def _surpluses(pieces: list[list[Piece]], capital_usd: float) -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
    """Return rising cut-offs, and each pool's surplus and deposit there, by piece: shape (n_pieces, n_cutoffs).

    Cut-offs are spread wide, closely around the best one, and set on the corners of D: ends of pieces and ties.
    """
    ends = np.array([value for choice in pieces for piece in choice for value in piece.marginal[[0, -1]]])
    most = float(ends.max())  # positive: some pool has a second piece
    wide = np.concatenate([np.zeros(1), most * np.geomspace(_SMALLEST_CUTOFF, 1.0, _WIDE), ends[ends > 0.0]])
    grid: FloatArray = np.unique(wide)
    first = [_at(choice, grid) for choice in pieces]
    ties = [tie for choice, (surplus, _) in zip(pieces, first, strict=True) for tie in _ties(choice, grid, surplus)]
    about = float(grid[np.argmin(grid * capital_usd + sum(surplus.max(axis=0) for surplus, _ in first))])
    close = about * np.geomspace(1.0 / _NEAR, _NEAR, _CLOSE) if about > 0.0 else np.zeros(0)
    more: FloatArray = np.unique(np.concatenate([close, np.array(ties)]))
    second = [_at(choice, more) for choice in pieces]
    order = np.argsort(np.concatenate([grid, more]), kind="stable")
    surplus = [np.concatenate([old[0], new[0]], axis=1)[:, order] for old, new in zip(first, second, strict=True)]
    deposit = [np.concatenate([old[1], new[1]], axis=1)[:, order] for old, new in zip(first, second, strict=True)]
    return np.concatenate([grid, more])[order], surplus, deposit


def _at(choice: list[Piece], cutoffs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return surplus and deposit of each piece of a pool at cut-offs, shape (n_pieces, n_cutoffs) each."""
    both = [piece.surplus(cutoffs) for piece in choice]
    return np.stack([most for most, _ in both]), np.stack([deposit for _, deposit in both])


def _ties(choice: list[Piece], cutoffs: FloatArray, surplus: FloatArray) -> list[float]:
    """Return the cut-offs at which two neighbouring pieces of a pool earn the same."""
    found: list[float] = []
    for left, right in zip(range(len(choice)), range(1, len(choice)), strict=False):
        ahead = surplus[right] - surplus[left]  # falls as the cut-off rises: the right piece holds more
        cell = int(np.argmax(ahead <= 0.0))
        if cell == 0 or ahead[cell] > 0.0:
            continue
        low, high = float(cutoffs[cell - 1]), float(cutoffs[cell])
        slope = float(ahead[cell - 1] - ahead[cell]) / (high - low)
        tie = low + float(ahead[cell - 1]) / slope
        for _ in range(_TIE_STEPS):
            (a, b), _ = _at([choice[left], choice[right]], np.full(1, tie))
            tie = min(max(tie + float(b[0] - a[0]) / slope, low), high)
        found.append(tie)
    return found
