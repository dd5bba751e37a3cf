"""Splitting capital: the best positions of a problem, what they bring, and why each candidate is in or out.

In passes. First a linear program over coarse segments of every candidate's income; then again with fine segments around
its answer; then, where gas, least sizes or a number of positions matter, a mixed-integer program over the candidates
that the second pass chose or nearly chose. Each answer carries the engine's certificate; figures are recomputed from
the true curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.domain.errors import InfeasibleError, RequestError
from aegis_yield.portfolio.columns import CAPITAL, Columns, Scope, columns_of
from aegis_yield.portfolio.engine import Limit, Settings, Solution, diagnose, solve, solve_ratio
from aegis_yield.portfolio.outcome import Outcome, held_usd, outcome_of
from aegis_yield.portfolio.problem import Candidate, Goal, Problem
from aegis_yield.utils.typing import FloatArray

MAX_EXACT: Final = 25
"""So many candidates at most enter the mixed-integer pass: those chosen before, then those that came nearest."""

DUST_SHARE: Final = 1e-7
"""A smaller position is none."""

SURE_GAS: Final = 2.0
"""A position worth so many times its gas, beyond what its capital would earn elsewhere, is not questioned again."""

SEARCH_S: Final = 3.0
SEARCH_GAP: Final = 1e-5
"""Of the mixed-integer pass: it may end so near to the best, or after so long, and says how near it is proven to be."""
_ALMOST_ALL: Final = 0.999


@dataclass(frozen=True)
class Certificate:
    """How far an answer can be trusted.

    Attributes
    ----------
    status, solver : str
        The engine's word, and whose.
    primal_residual, gap : float
        Largest relative violation of a limit; proven relative distance from the best of the segmented problem.
    certified : bool
        Whether both are within the engine's tolerances.
    seconds : float
        Of all passes.
    n_exact : int
        Candidates among which gas, least sizes and numbers of positions were decided exactly; 0 if none needed it.
    """

    status: str
    solver: str
    primal_residual: float
    gap: float
    certified: bool
    seconds: float
    n_exact: int


@dataclass(frozen=True, eq=False)
class Allocation:
    """An answer to a problem.

    Attributes
    ----------
    problem : Problem
        What was asked.
    positions_usd : ndarray of shape (n,)
        Dollars in each candidate.
    outcome : Outcome
        What that brings.
    excluded : mapping of int to str
        Candidates that were not considered, and why.
    caps_usd : mapping of int to float
        Largest position that each considered candidate was allowed.
    shadow_prices : mapping of str to float
        By limit: dollars of the objective that one more dollar of the limit's bound would bring, over the horizon.
    marginal : ndarray of shape (n,)
        Of each candidate: what its next dollar would add to the objective over the horizon, after costs, less the
        price of the limits that it uses; NaN where it was not considered.
    certificate : Certificate
        How far to trust it.
    """

    problem: Problem
    positions_usd: FloatArray
    outcome: Outcome
    excluded: Mapping[int, str]
    caps_usd: Mapping[int, float]
    shadow_prices: Mapping[str, float]
    marginal: FloatArray
    certificate: Certificate

    @property
    def cash_usd(self) -> float:
        """What stays idle."""
        spent = float(self.positions_usd.sum()) + self.outcome.cost_usd
        return max(0.0, self.problem.holdings.capital_usd - spent)


def allocate(problem: Problem) -> Allocation:
    """Split the capital of a problem as well as can be.

    Parameters
    ----------
    problem : Problem
        Candidates, holdings, scenarios, limits, objective.

    Returns
    -------
    Allocation
        With a certificate; all cash where nothing is worth its risk and cost.

    Raises
    ------
    InfeasibleError
        With the smallest set of limits that conflict and the least relaxation that would do.
    RequestError
        If no candidate may have a position and one must.
    """
    excluded, caps = _eligible(problem)
    scope = Scope(tuple(caps), caps, {})
    asked, problem = problem, _fully_invested(problem, scope)
    columns, found = _solved(problem, scope)
    positions = _positions(problem, columns, found)
    near = _near(positions)
    scope = replace(scope, near_usd=near, reserve_usd=_gas_reserve(problem, positions))
    columns, found = _solved(problem, scope)
    positions = _positions(problem, columns, found)
    marginal, seconds = _marginal(columns, found, len(problem.candidates)), found.seconds
    n_exact = 0
    if _needs_switches(problem, positions):
        members = _contenders(positions, marginal, scope.members)
        sure = _surely_open(problem, columns, found)
        exact = replace(scope, members=members, near_usd=_near(positions), has_switches=True, surely_open=sure)
        columns, found = _solved(problem, exact)
        positions, n_exact = _positions(problem, columns, found), len(members)
        seconds += found.seconds
    certificate = Certificate(
        found.status, found.solver, found.primal_residual, found.gap, found.certified, seconds, n_exact
    )
    prices = {name: float(price) for name, price in found.shadow_prices.items()}
    outcome = outcome_of(asked, positions)
    return Allocation(asked, positions, outcome, excluded, caps, prices, marginal, certificate)


def _eligible(problem: Problem) -> tuple[dict[int, str], dict[int, float]]:
    """Return who is left out and why, and the largest position of everybody else."""
    excluded: dict[int, str] = {}
    caps: dict[int, float] = {}
    for index, candidate in enumerate(problem.candidates):
        reason = _refusal(problem, candidate)
        cap = 0.0 if reason else _cap(problem, candidate)
        if not reason and cap <= DUST_SHARE * problem.holdings.capital_usd:
            reason = "has no room for a further deposit"
        if reason:
            excluded[index] = reason
        else:
            caps[index] = cap
    if not caps and problem.limits.min_invested_share > 0.0:
        raise RequestError("limits", problem.limits.min_invested_share, "limits under which some strategy is left")
    return excluded, caps


def _refusal(problem: Problem, candidate: Candidate) -> str:
    limits, name = problem.limits, candidate.strategy_id
    if name in limits.never:
        return "is on the list of those never to be used"
    if limits.only and name not in limits.only:
        return "is not on the list of those that may be used"
    if limits.min_tvl_usd > 0.0 and candidate.tvl_usd is None:
        return f"its size is unknown, at least {limits.min_tvl_usd:,.0f} USD is asked for"
    if candidate.tvl_usd is not None and candidate.tvl_usd < limits.min_tvl_usd:
        return f"holds {candidate.tvl_usd:,.0f} USD, at least {limits.min_tvl_usd:,.0f} is asked for"
    return ""


def _cap(problem: Problem, candidate: Candidate) -> float:
    """Return the largest position by the limits on one strategy, the pool's size and the curve's capacity."""
    limits, capital = problem.limits, problem.holdings.capital_usd
    held = problem.holdings.positions_usd.get(candidate.strategy_id, 0.0)
    cap = limits.strategy_share.get(candidate.strategy_id, limits.max_share) * capital
    cap = min(cap, held + candidate.curve.capacity_usd)
    if candidate.tvl_usd is not None and limits.max_tvl_share < 1.0:
        # Of the pool as it is after the deposit: x <= share * (others + x).
        others = max(0.0, candidate.tvl_usd - held)
        cap = min(cap, limits.max_tvl_share / (1.0 - limits.max_tvl_share) * others)
    return cap


def _fully_invested(problem: Problem, scope: Scope) -> Problem:
    """Return the problem with as much invested as its limits allow.

    A ratio does not know size, and the first dollars are diluted least: without this its best answer is a crumb.
    """
    if problem.objective.goal != Goal.RATIO or problem.limits.min_invested_share > 0.0:
        return problem
    columns = columns_of(problem, scope)
    most = solve(replace(columns.program, gain=columns.is_segment.astype(float), constant=0.0, risk=None))
    share = float(np.clip(most.objective, 0.0, 1.0)) if np.isfinite(most.objective) else 0.0
    return replace(problem, limits=replace(problem.limits, min_invested_share=share * _ALMOST_ALL))


def _solved(problem: Problem, scope: Scope) -> tuple[Columns, Solution]:
    columns = columns_of(problem, scope)
    settings = Settings(time_limit_s=SEARCH_S, mixed_gap=SEARCH_GAP)
    if problem.objective.goal == Goal.RATIO:
        found = solve_ratio(columns.program, columns.program.constant, settings)
        if found.status == "nothing_beats_cash":
            found = solve(replace(columns.program, limits=_without_floor(columns)), settings)
            found = replace(found, status="nothing_beats_cash")
    else:
        found = solve(columns.program, settings)
    if found.status == "infeasible":
        conflict = diagnose(columns.program, settings)
        if conflict is not None:
            raise InfeasibleError(conflict.limits, tuple(conflict.relaxation.items()))
    if not np.isfinite(found.values).all():
        raise InfeasibleError([found.status])
    return columns, found


def _without_floor(columns: Columns) -> tuple[Limit, ...]:
    return tuple(limit for limit in columns.program.limits if limit.name != "min_invested_share")


def _positions(problem: Problem, columns: Columns, found: Solution) -> FloatArray:
    shares = columns.positions(found.values, len(problem.candidates))
    held = held_usd(problem) / problem.holdings.capital_usd
    shares = np.where(shares < DUST_SHARE, 0.0, shares)
    shares = np.where(np.abs(shares - held) < DUST_SHARE, held, shares)
    return shares * problem.holdings.capital_usd


def _near(positions: FloatArray) -> dict[int, float]:
    return {int(index): float(positions[index]) for index in np.flatnonzero(positions)}


def _gas_reserve(problem: Problem, positions: FloatArray) -> float:
    gas = np.array([candidate.cost.gas_usd for candidate in problem.candidates])
    touched = float(gas[positions != held_usd(problem)].sum())
    return min(touched, problem.holdings.capital_usd)  # more gas than capital is no conflict


def _needs_switches(problem: Problem, positions: FloatArray) -> bool:
    limits = problem.limits
    too_small = ((positions > 0) & (positions < limits.min_ticket_usd)).any()
    too_many = limits.max_positions is not None and int((positions > 0).sum()) > limits.max_positions
    return bool(too_small or too_many or _gas_reserve(problem, positions) > 0.0)


def _surely_open(problem: Problem, columns: Columns, found: Solution) -> frozenset[int]:
    """Return the positions that neither gas nor a least size can close: one decision less each.

    What a column adds beyond the price of what it uses, times its amount, is a supergradient's bound: without the
    column the optimum falls by at least that much. Where it is well above the gas, closing the position cannot pay.
    """
    if problem.limits.max_positions is not None:
        return frozenset()
    n, capital = len(problem.candidates), problem.holdings.capital_usd
    full = columns.is_segment & (found.values > 0)
    worth = np.maximum(found.reduced_gains, 0.0) * found.values * full
    surplus = np.bincount(columns.owner, weights=worth, minlength=n) * capital
    gas = np.array([candidate.cost.gas_usd for candidate in problem.candidates])
    large = columns.positions(found.values, n) * capital >= np.maximum(2.0 * problem.limits.min_ticket_usd, 1.0)
    return frozenset(int(index) for index in np.flatnonzero(large & (surplus >= SURE_GAS * gas)))


def _contenders(positions: FloatArray, marginal: FloatArray, members: tuple[int, ...]) -> tuple[int, ...]:
    """Return who enters the exact pass: the chosen by size, then the others by how near they came."""
    chosen = [index for index in np.argsort(-positions) if positions[index] > 0]
    rest = [index for index in np.argsort(-np.nan_to_num(marginal, nan=-np.inf)) if index not in chosen]
    wanted = [int(index) for index in (*chosen, *rest) if index in members]
    return tuple(sorted(wanted[: max(MAX_EXACT, len(chosen))]))


def _marginal(columns: Columns, found: Solution, n: int) -> FloatArray:
    """Return what the next dollar of each candidate would add: the best of its segments that is not yet full."""
    best = np.full(n, np.nan)
    upper = columns.program.upper
    for column in np.flatnonzero(columns.is_segment & (found.values < upper * (1.0 - 1e-9))):
        owner = columns.owner[column]
        gain = found.reduced_gains[column]
        best[owner] = gain if np.isnan(best[owner]) else max(best[owner], gain)
    return best


def cutoff(allocation: Allocation) -> float:
    """Return the cut-off: what one more dollar of capital would add to the objective over the horizon."""
    return allocation.shadow_prices.get(CAPITAL, 0.0)
