"""The passes of an allocation: programs over segments of income, ever finer where the answer lies.

A first pass sees each income in coarse segments. Where its answer lies, segments that are not straight are cut, and so
on until there are none: then the chords are as good as the curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.domain.errors import AegisError
from aegis_yield.portfolio.columns import columns_of
from aegis_yield.portfolio.contradiction import contradiction
from aegis_yield.portfolio.engine import Settings, Solution, solve, solve_ratio
from aegis_yield.portfolio.outcome import held_usd
from aegis_yield.portfolio.problem import Goal, Problem
from aegis_yield.portfolio.scope import Columns, Scope, cash_return, first_breaks
from aegis_yield.portfolio.segments import finer_breaks, joined
from aegis_yield.utils.typing import BoolArray, FloatArray

DUST_SHARE: Final = 1e-7
"""A smaller position is none."""

SEARCH_S: Final = 3.0
SEARCH_GAP: Final = 5e-7
"""Of the mixed-integer pass: it may end so near to the best, or after so long, and says how near it is proven to be."""

STRAIGHT_SHARE: Final = 1e-8
"""Of capital over the horizon: a segment is straight whose chord is so near to the income."""

MAX_PASSES: Final = 6
_ALMOST_ALL: Final = 0.999
_NO_PRICE: Final = 1e-12


class UnansweredError(AegisError, RuntimeError):
    """No solver found an answer, nor proved that there is none."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass and its answer.

    Attributes
    ----------
    scope : Scope
        What was in it.
    columns : Columns
        Its program.
    found : Solution
        The engine's answer.
    positions_usd : ndarray of shape (n,)
        Dollars in each candidate.
    """

    scope: Scope
    columns: Columns
    found: Solution
    positions_usd: FloatArray


def refined(problem: Problem, scope: Scope) -> Pass:
    """Solve, cut what is not straight where the answer lies, and solve again until nothing is left to cut.

    Parameters
    ----------
    problem : Problem
        What is to be decided.
    scope : Scope
        Which candidates, how large, what is settled.

    Returns
    -------
    Pass
        The last; its seconds are those of all.

    Raises
    ------
    InfeasibleError
        If the limits cannot all be met.
    """
    seconds = 0.0
    for _ in range(MAX_PASSES):
        step = solved(problem, scope)
        seconds += step.found.seconds
        finer = _finer(problem, step)
        if finer is None:
            break
        scope = replace(scope, breaks_usd=finer)
    return replace(step, found=replace(step.found, seconds=seconds))


def next_dollars(problem: Problem, relaxed: Pass) -> tuple[FloatArray, dict[int, dict[str, float]]]:
    """Return what the next dollar of each candidate would add, and what it would be charged for limits.

    Parameters
    ----------
    problem : Problem
        What is to be decided.
    relaxed : Pass
        An answer with its prices.

    Returns
    -------
    ndarray of shape (n,)
        Per dollar over the horizon, less the price of capital and limits: of the best segment that is not yet full, of
        a position at its cap of the last one; NaN where a candidate is out of scope.
    dict of int to dict
        By candidate and linear limit: the price that this dollar pays for it.
    """
    best, charges = np.full(len(problem.candidates), np.nan), {}
    columns, found, unit = relaxed.columns, relaxed.found, unit_of_prices(problem, relaxed)
    room = found.values < columns.program.upper * (1.0 - 1e-9)
    priced = [limit for limit in columns.program.limits if abs(found.shadow_prices[limit.name]) > _NO_PRICE]
    for index in relaxed.scope.members:
        mine = np.flatnonzero(columns.is_segment & (columns.owner == index))
        free = mine[room[mine]]
        chosen = int(free[found.reduced_gains[free].argmax()]) if len(free) else int(mine[-1])
        best[index] = found.reduced_gains[chosen] * unit
        paid = {x.name: unit * found.shadow_prices[x.name] * float(x.coefficients[chosen]) for x in priced}
        charges[index] = {name: charge for name, charge in paid.items() if charge > 0.0}
    return best, charges


def unit_of_prices(problem: Problem, step: Pass) -> float:
    """Return what the engine's prices are multiplied by to be dollars per dollar: a ratio's are per its risk."""
    risk = step.columns.program.risk
    if problem.objective.goal != Goal.RATIO or risk is None or step.found.status in ("nothing_beats_cash", "riskless"):
        return 1.0
    return float(risk.of(step.found.values))


def solved(problem: Problem, scope: Scope) -> Pass:
    """Solve once.

    Raises
    ------
    InfeasibleError
        If the limits cannot all be met.
    UnansweredError
        If no solver found an answer.
    """
    settings = Settings(time_limit_s=SEARCH_S, mixed_gap=SEARCH_GAP)
    if problem.objective.goal == Goal.RATIO:
        columns, found = _best_ratio(problem, scope, settings)
    else:
        columns = columns_of(problem, scope)
        found = solve(columns.program, settings)
    if found.status == "infeasible":
        conflict = contradiction(problem, scope, columns, settings)
        if conflict is not None:
            raise conflict
    if not np.isfinite(found.values).all():
        raise UnansweredError(f"no solver found an allocation ({found.status}): fewer strategies or limits may help")
    return Pass(scope, columns, found, _positions(problem, columns, found))


def _best_ratio(problem: Problem, scope: Scope, settings: Settings) -> tuple[Columns, Solution]:
    """Return the best ratio with as much invested as the limits allow, or what beats cash if nothing does.

    A ratio does not know size, and the first dollars are diluted least: without this its best answer is a crumb.
    """
    columns = columns_of(problem, scope)
    is_free = problem.limits.min_invested_share == 0.0
    if is_free:
        program = replace(columns.program, gain=columns.is_segment.astype(float), constant=0.0, risk=None)
        most = solve(program, settings)
        share = float(most.values[columns.is_segment].sum()) if np.isfinite(most.objective) else 0.0
        floor = replace(problem.limits, min_invested_share=min(1.0, share * _ALMOST_ALL))
        columns = columns_of(replace(problem, limits=floor), scope)
    found = solve_ratio(columns.program, cash_return(problem), settings)
    if found.status == "nothing_beats_cash" and is_free:
        columns = columns_of(problem, scope)
        found = replace(solve(columns.program, settings), status="nothing_beats_cash")
    return columns, found


def _positions(problem: Problem, columns: Columns, found: Solution) -> FloatArray:
    shares = columns.positions(found.values, len(problem.candidates))
    held = held_usd(problem) / problem.holdings.capital_usd
    shares = np.where(shares < DUST_SHARE, 0.0, shares)
    shares = np.where(np.abs(shares - held) < DUST_SHARE, held, shares)
    return shares * problem.holdings.capital_usd


def _finer(problem: Problem, step: Pass) -> Mapping[int, FloatArray] | None:
    """Return finer breaks, None where all that matters is straight."""
    tolerance = STRAIGHT_SHARE * problem.holdings.capital_usd / problem.years
    may_enter, held = _may_enter(problem, step), held_usd(problem)
    breaks: dict[int, FloatArray] = {}
    is_finer = False
    for index in step.scope.members:
        now, amount = step.columns.breaks_usd[index], float(step.positions_usd[index])
        if is_closed(problem, step.scope, index):
            breaks[index] = now
            continue
        if amount == 0.0 and not may_enter[index]:
            # Its first dollars do not pay, and later ones pay less: no more than those need be looked at.
            breaks[index] = now if step.columns.rises[index] else now[:2]
            continue
        cap = step.scope.caps_usd[index]
        whole = now if now[-1] >= cap else joined(first_breaks(problem, index, cap), now)
        breaks[index] = finer_breaks(problem.candidates[index], float(held[index]), whole, amount, tolerance)
        is_finer |= len(breaks[index]) > len(now)
    return breaks if is_finer else None


def is_closed(problem: Problem, scope: Scope, index: int) -> bool:
    """Return whether it is settled that a candidate has no position."""
    return scope.opened is not None and not scope.opened.get(f"position {problem.candidates[index].strategy_id}", True)


def _may_enter(problem: Problem, step: Pass) -> BoolArray:
    """Return which candidates' first dollar may pay although the first segment, as a whole, does not."""
    n, objective, scenarios = len(problem.candidates), problem.objective, problem.scenarios
    if objective.goal == Goal.RATIO:
        return np.ones(n, dtype=bool)
    growth = np.maximum(problem.growth, 0.0)
    kept = np.maximum(1.0 + scenarios.price_return, 1.0)
    most = scenarios.probability @ (kept * growth) + objective.risk_aversion * (kept * growth).max(axis=0)
    held, found = held_usd(problem), np.zeros(n, dtype=bool)
    for index in step.scope.members:
        first = int(np.flatnonzero(step.columns.is_segment & (step.columns.owner == index))[0])
        curve, before = problem.candidates[index].curve, float(held[index])
        start, now = float(curve.rate(np.array([-before]))[0]), float(curve.rate(np.zeros(1))[0])
        lift = start / now - step.columns.multiple[first] if now > 0 else 0.0
        found[index] = step.found.reduced_gains[first] + most[index] * max(lift, 0.0) > 0.0
    return found
