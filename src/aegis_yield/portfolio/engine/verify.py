"""What an answer is worth, worked out with plain NumPy from its values and prices, whatever the solver said of it.

Any prices prove a bound. With ``risk(v) >= slope'v + offset`` for every v (a cut), y the limits' prices, w >= 0 those
of the risk budgets, no v within the limits can have an objective above ::

    constant - aversion offset_0 + sum_k w_k (budget_k - offset_k) + sum_i max(y_i lower_i, y_i upper_i)
             + sum_j capacity_j max(0, d_j)
    d = gain - aversion slope_0 - sum_k w_k (slope_k - allowance_k) - A'y
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aegis_yield.portfolio.engine.answer import Answer
from aegis_yield.portfolio.engine.cuts import Cuts
from aegis_yield.portfolio.engine.program import GAP_TOLERANCE, RESIDUAL_TOLERANCE, Program
from aegis_yield.portfolio.engine.risks import Variance
from aegis_yield.portfolio.engine.scales import capital_of
from aegis_yield.utils.typing import FloatArray

_DUST = 1e-11
_UNBOUNDED_CAPITALS = 10.0
"""A column that nothing bounds is held to this many capitals when a bound is worked out."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is proven of an answer.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Within the columns' bounds exactly.
    objective : float
        Recomputed.
    bound : float
        No values within the limits can have more.
    primal_residual, gap : float
        Relative; see ``Solution``.
    prices, budget_prices, reduced_gains : ndarray
        As they enter the proof.
    """

    values: FloatArray
    objective: float
    bound: float
    primal_residual: float
    gap: float
    prices: FloatArray
    budget_prices: FloatArray
    reduced_gains: FloatArray

    @property
    def holds(self) -> bool:
        """Return whether residual and gap are within the tolerances."""
        return bool(self.primal_residual <= RESIDUAL_TOLERANCE and self.gap <= GAP_TOLERANCE)


@dataclass(frozen=True)
class Footing:
    """What an answer is expected to be near, where that is not the program's own size.

    Attributes
    ----------
    capital : float or None
        The largest value of a column.
    size : float
        The least that a gap is relative to.
    """

    capital: float | None = None
    size: float = 0.0


def certify(program: Program, cuts: Sequence[Cuts], answer: Answer, footing: Footing | None = None) -> Certificate:
    """Work out what is proven of a convex program's answer."""
    footing = footing or Footing()
    values = _tidied(program, answer.values, footing.capital or capital_of(program))
    slopes, offsets = _cuts_of_risks(cuts, answer)
    counts = int(program.counts_risk)
    reduced = program.gain.astype(float)
    bound = program.constant
    if program.counts_risk:
        reduced = reduced - program.aversion * slopes[0]
        bound -= program.aversion * offsets[0]
    for place, budget in enumerate(program.risk_limits):
        price = answer.budget_prices[place]
        allowance = 0.0 if budget.allowance is None else budget.allowance
        reduced = reduced - price * (slopes[counts + place] - allowance)
        bound += price * (budget.upper - offsets[counts + place])
    prices = answer.prices.copy()
    for place, limit in enumerate(program.limits):
        if not np.isfinite(limit.upper if prices[place] > 0 else limit.lower):
            prices[place] = 0.0
        if prices[place]:
            reduced = reduced - prices[place] * limit.coefficients
            bound += prices[place] * (limit.upper if prices[place] > 0 else limit.lower)
    capacity = program.capacity()
    capacity = np.where(np.isfinite(capacity), capacity, _UNBOUNDED_CAPITALS * capital_of(program))
    bound += float(capacity @ np.maximum(reduced, 0.0))
    objective = objective_of(program, values)
    return Certificate(
        values,
        objective,
        bound,
        primal_residual=residual_of(program, values),
        gap=float(max(bound - objective, 0.0) / max(size_of(program, values), footing.size)),
        prices=prices,
        budget_prices=answer.budget_prices,
        reduced_gains=reduced,
    )


def _tidied(program: Program, values: FloatArray, capital: float) -> FloatArray:
    """Return values within the columns' bounds, and on them where a solver only came near."""
    near = _DUST * capital
    inside = np.clip(np.nan_to_num(values), 0.0, program.upper)
    inside = np.where(inside < near, 0.0, inside)
    tidied: FloatArray = np.where(inside >= program.upper - np.minimum(near, program.upper / 2), program.upper, inside)
    return tidied


def _cuts_of_risks(cuts: Sequence[Cuts], answer: Answer) -> tuple[list[FloatArray], list[float]]:
    """Return the slope and the offset of one cut of each risk, the one that the solver's duals point to."""
    slopes, offsets = [], []
    for known, duals, direction in zip(cuts, answer.duals, answer.directions, strict=True):
        if direction is not None and isinstance(known.risk, Variance):
            slope, offset = known.risk.supporting(direction)
        else:
            slope, offset = known.combine(duals)
        slopes.append(slope)
        offsets.append(offset)
    return slopes, offsets


def objective_of(program: Program, values: FloatArray) -> float:
    """Return gain less risk at values of shape (m,), open switches' costs left out."""
    risk = program.aversion * program.risk.of(values) if program.risk is not None and program.aversion > 0 else 0.0
    return float(program.gain @ values) + program.constant - risk


def size_of(program: Program, values: FloatArray) -> float:
    """Return what a gap is relative to: the gain or the risk's part, the larger in size, above 0."""
    risk = program.aversion * program.risk.of(values) if program.risk is not None and program.aversion > 0 else 0.0
    size = max(abs(float(program.gain @ values) + program.constant), abs(risk))
    # an objective of exactly nothing (all stays out) is measured against what one column could bring
    return size or float(np.abs(program.gain).max(initial=0.0)) * capital_of(program) or 1.0


def residual_of(program: Program, values: FloatArray) -> float:
    """Return the largest violation of a limit or budget, relative to its bound or to what the values could make of it.

    Parameters
    ----------
    program : Program
        Switches are left out.
    values : ndarray of shape (m,)
        Any.

    Returns
    -------
    float
        At least 0.
    """
    largest = float(np.abs(values).max(initial=0.0))
    worst = max(float(np.max(values - program.upper, initial=0.0)), float(np.max(-values, initial=0.0)))
    worst /= largest or 1.0
    for limit in program.limits:
        amount = float(limit.coefficients @ values)
        reach = float(np.abs(limit.coefficients).max(initial=0.0)) * largest
        for excess, bound in ((amount - limit.upper, limit.upper), (limit.lower - amount, limit.lower)):
            if np.isfinite(bound) and excess > 0:
                worst = max(worst, excess / max(abs(bound), reach))
    for budget in program.risk_limits:
        allowed = budget.upper + (0.0 if budget.allowance is None else float(budget.allowance @ values))
        excess = budget.risk.of(values) - allowed
        if excess > 0:
            worst = max(worst, excess / max(abs(allowed), budget.risk.size(largest or 1.0)))
    return worst
