"""What else could be done with the same capital: the efficient frontier, and what people do today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.portfolio.allocate import allocate
from aegis_yield.portfolio.engine.references import equal, hierarchical_risk_parity, risk_parity
from aegis_yield.portfolio.outcome import Outcome, outcome_of
from aegis_yield.portfolio.problem import Goal, Objective, Problem, TradeCost
from aegis_yield.utils.typing import FloatArray

AVERSIONS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_LEAST_VARIANCE: Final = 1e-14


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another way to split the capital.

    Attributes
    ----------
    name : str
        What it is called.
    positions_usd : ndarray of shape (n,)
        Dollars in each candidate.
    outcome : Outcome
        What that would bring, by the same curves, scenarios and costs.
    """

    name: str
    positions_usd: FloatArray
    outcome: Outcome


def frontier(problem: Problem, aversions: Sequence[float] = AVERSIONS) -> list[Alternative]:
    """Return the best allocations for rising aversion to CVaR, under the limits of a problem.

    Gas and least sizes are left out, so that the curve has no steps; figures hold fees and slippage.

    Parameters
    ----------
    problem : Problem
        Its objective's aversion is replaced.
    aversions : sequence of float
        Dollars of income given up to lose a dollar of CVaR.
    """
    free = [replace(one, cost=TradeCost(0.0, one.cost.entry, one.cost.exit)) for one in problem.candidates]
    limits = replace(problem.limits, min_ticket_usd=0.0, max_positions=None)
    smooth = replace(problem, candidates=tuple(free), limits=limits)
    found = []
    for aversion in aversions:
        goal = Goal.MEAN_CVAR if aversion > 0.0 else Goal.INCOME
        objective = replace(problem.objective, goal=goal, risk_aversion=aversion)
        best = allocate(replace(smooth, objective=objective))
        found.append(Alternative(f"{aversion:g}", best.positions_usd, best.outcome))
    return found


def references(problem: Problem) -> list[Alternative]:
    """Return what people do today, without regard to limits: each puts all capital to work.

    The highest rate as it is quoted, equal parts, parts by the pools' size, and two rules of risk alone (equal
    contributions to variance, hierarchical risk parity) on the variance of the scenarios' returns.
    """
    apy = np.array([candidate.apy for candidate in problem.candidates])
    sizes = np.array([candidate.tvl_usd or 0.0 for candidate in problem.candidates])
    first = np.zeros(len(apy))
    first[int(np.argmax(apy))] = 1.0
    weights = {"highest APY": first, "equal weight": equal(len(apy))}
    if sizes.sum() > 0:
        weights["by TVL"] = sizes / sizes.sum()
    covariance = _covariance(problem)
    if len(apy) > 1:
        weights["risk parity"] = risk_parity(covariance)
        weights["HRP"] = hierarchical_risk_parity(covariance)
    plain = replace(problem, objective=Objective(risk_free_apy=problem.objective.risk_free_apy))
    return [_valued(plain, name, share) for name, share in weights.items()]


def _covariance(problem: Problem) -> FloatArray:
    probability = problem.scenarios.probability
    returns = problem.scenarios.returns()
    centred = returns - probability @ returns
    covariance: FloatArray = centred.T @ (centred * probability[:, None])
    return covariance + _LEAST_VARIANCE * np.eye(len(covariance))


def _valued(problem: Problem, name: str, share: FloatArray) -> Alternative:
    """Value a way of splitting, its costs paid out of the capital first."""
    capital = problem.holdings.capital_usd
    costs = np.array([candidate.cost.entry for candidate in problem.candidates])
    gas = sum(candidate.cost.gas_usd for candidate, x in zip(problem.candidates, share, strict=True) if x > 0)
    positions = share * max(0.0, capital - gas) / (1.0 + costs)
    return Alternative(name, positions, outcome_of(problem, positions))
