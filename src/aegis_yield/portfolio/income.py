"""The split of capital over pools that earns the most, own deposits diluting each rate; no risk, no cost.

    maximise  sum_i x_i r_i(x_i)   subject to   sum_i x_i <= capital,   0 <= x_i <= cap_i

Where every pool's income is concave, the best split pays the same marginal income everywhere (water-filling). A pool
above its kink has two concave pieces and two best deposits, and one local start loses up to a sixth of the income:
there the choice of pieces is searched exactly (``income_search``). Either way the answer carries an upper bound of
every split's income, by Lagrangian duality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.income_pieces import Fill, fill, pieces_of
from aegis_yield.portfolio.income_search import Search
from aegis_yield.portfolio.rate_curve import RateCurve, at_least
from aegis_yield.utils.typing import FloatArray

DEFAULT_TOLERANCE: Final = 1e-6
MAX_BRANCHES: Final = 2_000


@dataclass(frozen=True)
class IncomeSplit:
    """The best split of capital by income alone.

    Attributes
    ----------
    deposit_usd : ndarray of shape (n_pools,)
        Deposits; they sum to at most the capital.
    income_usd : float
        Income per year.
    marginal_income : float
        The cut-off: what the last dollar earns per year, 0 where capital is left over.
    upper_bound_usd : float
        What no split can earn more than, USD per year.
    relative_gap : float
        ``(upper_bound_usd - income_usd) / income_usd``; 0 where nothing can be earned.
    certified : bool
        Whether that gap is within the tolerance asked for.
    branches : int
        Branches looked at; 0 where every pool is concave.
    """

    deposit_usd: FloatArray
    income_usd: float
    marginal_income: float
    upper_bound_usd: float
    relative_gap: float
    certified: bool
    branches: int


def best_split(
    curves: Sequence[RateCurve],
    capital_usd: float,
    caps_usd: FloatArray | None = None,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    max_branches: int = MAX_BRANCHES,
) -> IncomeSplit:
    """Split capital over pools for the most income.

    Parameters
    ----------
    curves : sequence of RateCurve
        n_pools curves, all in the same kind of rate.
    capital_usd : float
        What may be deposited in all, at least 0, finite.
    caps_usd : ndarray of shape (n_pools,), optional
        The most for each pool, at least 0, infinity for none; a curve's own capacity holds besides. NaN is refused.
    tolerance : float
        The relative gap up to which a split counts as best.
    max_branches : int
        Branches after which the search ends with what it has, and says so by its gap.

    Returns
    -------
    IncomeSplit
        The split and its certificate. The bound is rigorous where each piece is concave, which closed forms show for
        all curves of this room but ``AdaptiveCurve``; there the cut into concave pieces is by sampling.

    Raises
    ------
    RequestError
        If the capital is negative or not finite.
    RequestError
        If a cap is negative or NaN, or their number is not that of the curves.
    """
    at_least("capital_usd", capital_usd, 0.0)
    if not math.isfinite(capital_usd):
        raise RequestError("capital_usd", capital_usd, "a finite number, at least 0")
    limits = _limits(curves, capital_usd, caps_usd)
    if capital_usd == 0.0 or not len(curves):
        return _answer(Fill(np.zeros(len(curves)), 0.0, 0.0, 0.0), 0.0, tolerance, 0)
    pieces = [pieces_of(curve, limit) for curve, limit in zip(curves, limits, strict=True)]
    if all(len(choice) == 1 for choice in pieces):
        only = fill([choice[0] for choice in pieces], capital_usd)
        assert only is not None  # a single piece begins at 0
        return _answer(only, only.bound, tolerance, 0)
    search = Search(pieces, capital_usd, tolerance)
    best, bound = search.run(max_branches)
    return _answer(best, bound, tolerance, search.branches)


def _limits(curves: Sequence[RateCurve], capital_usd: float, caps_usd: FloatArray | None) -> list[float]:
    caps = np.full(len(curves), np.inf) if caps_usd is None else np.asarray(caps_usd, dtype=float)
    if caps.shape != (len(curves),) or not (caps >= 0.0).all():
        raise RequestError("caps_usd", caps.tolist(), f"{len(curves)} numbers, at least 0, one per curve")
    return [min(float(cap), curve.capacity_usd, capital_usd) for cap, curve in zip(caps, curves, strict=True)]


def _answer(best: Fill, bound: float, tolerance: float, branches: int) -> IncomeSplit:
    bound = max(bound, best.income)
    gap = (bound - best.income) / best.income if best.income > 0.0 else 0.0
    return IncomeSplit(best.deposit_usd, best.income, best.cutoff, bound, gap, gap <= tolerance, branches)
