"""Splitting capital: the best positions of a problem, what they bring, and why each candidate is in or out.

In passes. First linear programs over segments of every candidate's income, ever finer around the answer; then, where
gas, least sizes or a number of positions matter, a mixed-integer program over the candidates that were chosen or nearly
chosen. Each answer carries the engine's certificate; figures are recomputed from the true curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.choice import decided, needs_decision
from aegis_yield.portfolio.outcome import Outcome, outcome_of
from aegis_yield.portfolio.passes import DUST_SHARE, next_dollars, refined, unit_of_prices
from aegis_yield.portfolio.problem import Candidate, Problem
from aegis_yield.portfolio.scope import CAPITAL, Scope, cash_return, weight_of_certain
from aegis_yield.utils.typing import FloatArray


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
        By limit: dollars of the objective that one more dollar of the limit's bound would bring, over the horizon;
        negative for a lower bound. For a ratio, dollars of income after risk at the ratio's own price.
    marginal : ndarray of shape (n,)
        Of each candidate: what its next dollar would add to the objective over the horizon, after costs, less the
        price of capital and of the limits that it uses; of one at its cap what more room would; NaN where it was not
        considered. Gas, least sizes and the number of positions are left out.
    charges : mapping of int to mapping
        By candidate and linear limit: what that next dollar pays for it.
    wanted_usd : ndarray of shape (n,)
        What each would get if gas, least sizes and the number of positions did not matter.
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
    charges: Mapping[int, Mapping[str, float]]
    wanted_usd: FloatArray
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
    relaxed = refined(problem, Scope(tuple(caps), caps))
    final, n_exact, seconds = relaxed, 0, relaxed.found.seconds
    if needs_decision(problem, relaxed):
        final = decided(problem, relaxed)
        n_exact, seconds = len(final.scope.members), seconds + final.found.seconds
    found = final.found
    certificate = Certificate(
        found.status, found.solver, found.primal_residual, found.gap, found.certified, seconds, n_exact
    )
    unit = unit_of_prices(problem, final)
    prices = {name: unit * float(price) for name, price in found.shadow_prices.items()}
    marginal, charges = next_dollars(problem, relaxed)
    return Allocation(
        problem=problem,
        positions_usd=final.positions_usd,
        outcome=outcome_of(problem, final.positions_usd),
        excluded=excluded,
        caps_usd=caps,
        shadow_prices=prices,
        marginal=marginal,
        charges=charges,
        wanted_usd=relaxed.positions_usd,
        certificate=certificate,
    )


def _eligible(problem: Problem) -> tuple[dict[int, str], dict[int, float]]:
    """Return who is left out and why, and the largest position of everybody else."""
    excluded: dict[int, str] = {}
    caps: dict[int, float] = {}
    for index, candidate in enumerate(problem.candidates):
        cap = _cap(problem, candidate)
        reason = _refusal(problem, candidate) or _no_room(problem, cap)
        if reason:
            excluded[index] = reason
        else:
            caps[index] = cap
    if not caps and problem.limits.min_invested_share > 0.0:
        raise RequestError("min_invested_share", problem.limits.min_invested_share, "0 where no strategy may be used")
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


def _no_room(problem: Problem, cap_usd: float) -> str:
    """Return why nothing may be put there, although the strategy is not refused."""
    ticket = problem.limits.min_ticket_usd
    if cap_usd <= DUST_SHARE * problem.holdings.capital_usd:
        return "has no room: what the limits and the pool leave is nothing"
    if cap_usd < ticket:
        return f"has room for {cap_usd:,.0f} USD, a position must be at least {ticket:,.0f}"
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


def cutoff(allocation: Allocation) -> float:
    """Return the cut-off: what one more dollar of capital would add to the objective over the horizon.

    Limits that are shares of capital stay where they are in dollars. At the least it earns what cash does.
    """
    problem = allocation.problem
    idle = cash_return(problem) * weight_of_certain(problem.objective)
    return allocation.shadow_prices.get(CAPITAL, 0.0) + idle
