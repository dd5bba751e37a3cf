"""What an allocation brings: expected income and risk, from the true rate curves and every scenario."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.portfolio.problem import SIGNIFICANT_LOSS, Problem
from aegis_yield.risk.measures import conditional_value_at_risk, loss_probability, value_at_risk
from aegis_yield.utils.typing import FloatArray


@dataclass(frozen=True)
class Outcome:
    """Figures of an allocation over the horizon; dollars unless named otherwise.

    Attributes
    ----------
    income_usd : float
        Expected, after dilution, expected losses and the cost of getting there.
    net_apy : float
        The same as an annual rate on the whole capital.
    net_apy_low, net_apy_high : float
        Between these lie 90 % of the scenarios.
    gross_apy : float
        Forecast rates after dilution, before losses and costs, on the whole capital.
    cost_usd : float
        Gas, fees and slippage of the trades.
    var, cvar : float
        Share of capital lost in the worst 5 % of scenarios: the least and the mean of those losses (negative: a gain).
    loss_probability : float
        That more than 1 % of the capital is lost.
    worst_loss : float
        Share of capital lost in the worst scenario.
    """

    income_usd: float
    net_apy: float
    net_apy_low: float
    net_apy_high: float
    gross_apy: float
    cost_usd: float
    var: float
    cvar: float
    loss_probability: float
    worst_loss: float


def diluted_rates(problem: Problem, positions_usd: FloatArray) -> FloatArray:
    """Return the simple rate a year that each position is paid, one's own deposit in the pool, shape (n,)."""
    held = held_usd(problem)
    moved = positions_usd - held
    pairs = zip(problem.candidates, moved, strict=True)
    return np.array([float(candidate.curve.rate(np.array([x]))[0]) for candidate, x in pairs])


def held_usd(problem: Problem) -> FloatArray:
    """Return what is held now of each candidate, shape (n,)."""
    held = problem.holdings.positions_usd
    return np.array([held.get(candidate.strategy_id, 0.0) for candidate in problem.candidates])


def trading_costs(problem: Problem, positions_usd: FloatArray) -> FloatArray:
    """Return what it costs to get from what is held to these positions, by candidate, shape (n,)."""
    moved = positions_usd - held_usd(problem)
    costs = [candidate.cost for candidate in problem.candidates]
    pairs = zip(costs, moved, strict=True)
    return np.array([0.0 if x == 0.0 else c.gas_usd + (c.entry * x if x > 0 else -c.exit * x) for c, x in pairs])


def scenario_profits(problem: Problem, positions_usd: FloatArray) -> FloatArray:
    """Return what each scenario brings in dollars, cash and costs included, shape (s,)."""
    now = np.array([float(candidate.curve.rate(np.zeros(1))[0]) for candidate in problem.candidates])
    paid = diluted_rates(problem, positions_usd)
    multiple = np.divide(paid, now, out=np.ones_like(paid), where=now > 0)
    principal, growth = problem.principal, problem.growth
    earned = np.maximum(growth, 0.0) * multiple + np.minimum(growth, 0.0)
    costs = float(trading_costs(problem, positions_usd).sum())
    cash = problem.holdings.capital_usd - float(positions_usd.sum()) - costs
    idle = cash * ((1.0 + problem.objective.risk_free_apy) ** problem.years - 1.0)
    profits: FloatArray = (principal + (1.0 + principal) * earned) @ positions_usd + idle - costs
    return profits


def outcome_of(problem: Problem, positions_usd: FloatArray) -> Outcome:
    """Return the figures of an allocation.

    Parameters
    ----------
    problem : Problem
        Curves, scenarios, costs.
    positions_usd : ndarray of shape (n,)
        Dollars in each candidate.
    """
    capital = problem.holdings.capital_usd
    probability = problem.scenarios.probability
    profits = scenario_profits(problem, positions_usd)
    losses = -profits / capital
    income = float(probability @ profits)
    low, high = (_quantile(profits / capital, probability, at) for at in (0.05, 0.95))
    gross = float(diluted_rates(problem, positions_usd) @ positions_usd) / capital
    level = problem.objective.level
    return Outcome(
        income_usd=income,
        net_apy=_annual(income / capital, problem.years),
        net_apy_low=_annual(low, problem.years),
        net_apy_high=_annual(high, problem.years),
        gross_apy=_annual(gross * problem.years, problem.years),
        cost_usd=float(trading_costs(problem, positions_usd).sum()),
        var=float(value_at_risk(losses, level, probability)),
        cvar=float(conditional_value_at_risk(losses, level, probability)),
        loss_probability=float(loss_probability(losses, SIGNIFICANT_LOSS, probability)),
        worst_loss=float(losses[probability > 0].max()),
    )


def _annual(share: float, years: float) -> float:
    return float(np.maximum(1.0 + share, 1e-6) ** (1.0 / years) - 1.0)


def _quantile(values: FloatArray, probability: FloatArray, at: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(probability[order])
    return float(values[order][min(int(np.searchsorted(reached, at)), len(values) - 1)])
