"""Allocations against brute force, their own limits, and what can be said without solving anything."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from small_problems import CAPITAL_USD, FREE, Make, candidate, draw_paths, draw_problem, income_problem

from aegis_yield.domain.errors import InfeasibleError, RequestError
from aegis_yield.portfolio.allocate import Allocation, allocate
from aegis_yield.portfolio.comparison import frontier, references
from aegis_yield.portfolio.explain import limit_states, trades, verdicts
from aegis_yield.portfolio.impact import ProRata
from aegis_yield.portfolio.income import best_split
from aegis_yield.portfolio.outcome import scenario_profits, trading_costs
from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Objective, Problem, TradeCost
from aegis_yield.risk.measures import conditional_value_at_risk
from aegis_yield.utils.typing import FloatArray


def value(problem: Problem, positions: FloatArray) -> float:
    """The objective of positions, from the true curves and every scenario, in dollars."""
    profits = scenario_profits(problem, positions)
    costs = float(trading_costs(problem, positions).sum())
    mean = float(problem.scenarios.probability @ profits)
    if problem.objective.goal == Goal.INCOME:
        return mean
    losses = -(profits + costs)  # trading costs are sure: they are no risk
    tail = conditional_value_at_risk(losses, problem.objective.level, problem.scenarios.probability)
    return mean - problem.objective.risk_aversion * float(tail)


def grid_best(problem: Problem, steps: int = 40) -> float:
    """The best value on a grid of positions of three candidates."""
    shares = np.linspace(0.0, 1.0, steps + 1)
    best = -math.inf
    for first, second in product(shares, shares):
        for third in shares[shares <= 1.0 - first - second + 1e-12]:
            if first + second <= 1.0 + 1e-12:
                best = max(best, value(problem, np.array([first, second, third]) * CAPITAL_USD))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("goal", [Goal.INCOME, Goal.MEAN_CVAR])
def test_no_point_of_a_grid_is_better(seed: int, goal: Goal) -> None:
    problem = draw_problem(seed, Make(n=3, scenarios=30, concave=seed % 2 == 0))
    problem = replace(problem, objective=Objective(goal, 0.05, no_trade_apy=0.0))
    best = grid_best(problem, 25)
    found = value(problem, allocate(problem).positions_usd)
    assert found >= best - 2e-3 * abs(best)


@pytest.mark.parametrize("capital", [1e5, 1e6, 1e7])
def test_income_alone_is_split_as_water_fills(capital: float) -> None:
    pools = [(4e5, 0.09), (2e6, 0.06), (9e6, 0.05), (3e7, 0.045)]
    candidates = [candidate(f"s{at}", ProRata(size, apy), apy) for at, (size, apy) in enumerate(pools)]
    exact = best_split([one.curve for one in candidates], capital)
    found = allocate(income_problem(candidates, capital))
    income = sum(
        float(x * one.curve.rate(np.array([x]))[0]) for x, one in zip(found.positions_usd, candidates, strict=True)
    )
    assert income == pytest.approx(exact.income_usd, rel=1e-4)
    assert found.certificate.certified


def check_limits(found: Allocation, limits: Limits) -> None:
    problem = found.problem
    shares = found.positions_usd / CAPITAL_USD
    spent = shares.sum() + found.outcome.cost_usd / CAPITAL_USD
    assert spent <= 1.0 + 1e-6
    assert (shares >= 0).all()
    assert (shares <= limits.max_share + 1e-6).all()
    for kind, most in limits.max_group_share.items():
        for name in {one.groups[kind] for one in problem.candidates}:
            mine = [share for share, one in zip(shares, problem.candidates, strict=True) if one.groups[kind] == name]
            assert sum(mine) <= most + 1e-6
    for share, one in zip(shares, problem.candidates, strict=True):
        assert one.tvl_usd is not None
        others = one.tvl_usd
        assert share * CAPITAL_USD <= limits.max_tvl_share * (others + share * CAPITAL_USD) + 1.0
        assert share == 0 or share * CAPITAL_USD >= limits.min_ticket_usd * (1 - 1e-6)
    slow = sum(
        share if one.exit_days > 0 else max(0.0, share - (one.instant_usd or 0.0) / CAPITAL_USD)
        for share, one in zip(shares, problem.candidates, strict=True)
    )
    assert 1.0 - slow >= limits.min_instant_share - 1e-6
    assert (
        sum(share * one.exit_days for share, one in zip(shares, problem.candidates, strict=True))
        <= limits.max_exit_days + 1e-6
    )
    if limits.max_positions is not None:
        assert (shares > 0).sum() <= limits.max_positions


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("goal", [Goal.INCOME, Goal.MEAN_CVAR, Goal.ROBUST])
def test_every_limit_is_obeyed(seed: int, goal: Goal) -> None:
    limits = Limits(
        max_share=0.35, max_group_share={"protocol": 0.6, "chain": 0.7, "issuer": 0.5}, max_tvl_share=0.15,
        min_instant_share=0.3, max_exit_days=2.0, min_ticket_usd=30_000.0, max_positions=4,
    )  # fmt: skip
    problem = draw_problem(seed, Make(n=6, scenarios=40, costs=True))
    found = allocate(replace(problem, limits=limits, objective=Objective(goal, 0.02)))
    check_limits(found, limits)
    assert (found.positions_usd > 0).any()


@pytest.mark.parametrize("seed", range(4))
def test_budgets_of_risk_are_kept(seed: int) -> None:
    problem = replace(draw_problem(seed, Make(n=5)), paths=draw_paths(seed, 5))
    free = allocate(replace(problem, objective=Objective(Goal.INCOME)))
    budget = 0.5 * free.outcome.cvar if free.outcome.cvar > 0 else 0.0
    held = allocate(replace(problem, limits=replace(FREE, max_cvar=budget), objective=Objective(Goal.INCOME)))
    assert held.outcome.cvar <= budget + 2e-4  # the segments' tail is that of the true curves to a basis point
    assert held.outcome.income_usd <= free.outcome.income_usd + 1.0
    sure = allocate(
        replace(problem, limits=replace(FREE, max_loss_probability=0.002), objective=Objective(Goal.INCOME))
    )
    assert sure.outcome.loss_probability <= 0.002 + 1e-9
    calm = allocate(replace(problem, limits=replace(FREE, max_drawdown=0.002), objective=Objective(Goal.INCOME)))
    (fall,) = [state for state in limit_states(calm) if state.name == "max_drawdown"]
    assert fall.used <= 0.002 + 1e-6


def test_what_is_forbidden_is_sold_and_what_is_small_is_left_out() -> None:
    problem = draw_problem(1, Make(n=4, costs=True))
    names = [one.strategy_id for one in problem.candidates]
    smallest = min(problem.candidates, key=lambda one: one.tvl_usd or 0.0)
    limits = replace(FREE, never=(names[0],), min_tvl_usd=(smallest.tvl_usd or 0.0) + 1.0)
    found = allocate(replace(problem, holdings=Holdings(CAPITAL_USD, {names[0]: 2e5}), limits=limits))
    said = {verdict.strategy_id: verdict.why for verdict in verdicts(found)}
    assert found.positions_usd[0] == 0.0
    assert "never" in said[names[0]]
    if smallest.strategy_id != names[0]:
        assert "at least" in said[smallest.strategy_id]
    assert next(trade for trade in trades(found) if trade.strategy_id == names[0]).amount_usd == pytest.approx(-2e5)


def test_limits_that_contradict_are_named_with_the_least_that_would_do() -> None:
    problem = draw_problem(2, Make(n=3))
    limits = replace(FREE, max_share=0.2, min_invested_share=0.9)
    with pytest.raises(InfeasibleError, match="min_invested_share") as refusal:
        allocate(replace(problem, limits=limits))
    relaxation = dict(refusal.value.relaxation)
    eased = replace(limits, min_invested_share=0.9 - relaxation["min_invested_share"] - 1e-6)
    assert allocate(replace(problem, limits=eased)).positions_usd.sum() > 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda: Holdings(0.0), "capital_usd"),
        (lambda: Holdings(float("nan")), "capital_usd"),
        (lambda: Holdings(1.0, {"s0": 2.0}), "capital_usd"),
        (lambda: Limits(max_share=1.5), "max_share"),
        (lambda: Limits(max_group_share={"colour": 0.5}), "max_group_share"),
        (lambda: Limits(max_positions=0), "max_positions"),
        (lambda: Limits(min_ticket_usd=float("nan")), "min_ticket_usd"),
        (lambda: Objective(risk_aversion=-1.0), "risk_aversion"),
        (lambda: Objective(level=1.0), "level"),
        (lambda: replace(draw_problem(0), limits=Limits(never=("nobody",))), "strategies"),
        (lambda: replace(draw_problem(0), limits=Limits(max_drawdown=0.1)), "max_drawdown"),
    ],
)
def test_bad_input_is_named(change: object, named: str) -> None:
    with pytest.raises(RequestError) as refusal:
        change()  # type: ignore[operator]
    assert named in str(refusal.value)


def test_capital_beyond_all_capacity_stays_cash() -> None:
    found = allocate(
        income_problem([candidate("s0", ProRata(1e6, 0.05), 0.05, tvl_usd=1e6)], 1e9, replace(FREE, max_tvl_share=0.1))
    )
    assert found.positions_usd[0] == pytest.approx(1e6 / 9)
    assert found.cash_usd == pytest.approx(1e9 - 1e6 / 9)
    assert verdicts(found)[0].why == "at its cap: 10 % of the pool"


def test_permuting_candidates_permutes_the_answer() -> None:
    problem = draw_problem(5, Make(n=5))
    order = np.array([3, 0, 4, 1, 2])
    scenarios = problem.scenarios
    moved = replace(
        problem,
        candidates=tuple(problem.candidates[at] for at in order),
        scenarios=replace(
            scenarios, strategy_ids=tuple(scenarios.strategy_ids[at] for at in order), apy=scenarios.apy[:, order],
            price_return=scenarios.price_return[:, order], loss=scenarios.loss[:, order],
        ),
    )  # fmt: skip
    first, second = allocate(problem), allocate(moved)
    np.testing.assert_allclose(second.positions_usd, first.positions_usd[order], atol=2e-3 * CAPITAL_USD)
    assert value(moved, second.positions_usd) == pytest.approx(value(problem, first.positions_usd), rel=1e-5)


def test_gas_keeps_small_gains_away_and_fees_pay_over_the_horizon() -> None:
    apart = [candidate("s0", ProRata(1e9, 0.05), 0.05), candidate("s1", ProRata(1e9, 0.06), 0.06)]
    dear = [replace(one, cost=TradeCost(gas_usd=1e4)) for one in apart]
    assert allocate(income_problem(apart, 1e6)).positions_usd.sum() == pytest.approx(1e6)
    assert allocate(income_problem(dear, 1e6)).positions_usd.sum() == 0.0  # 30 days of 6 % on a million are 4,900 USD
    held = replace(income_problem(apart, 1e6), holdings=Holdings(1e6, {"s0": 1e6}))
    stays = replace(held, objective=Objective(Goal.INCOME, no_trade_apy=0.02))
    assert allocate(held).positions_usd[1] > 9e5
    assert allocate(stays).positions_usd[0] == pytest.approx(1e6)


def test_the_price_of_capital_is_what_more_of_it_brings() -> None:
    pools = [candidate(f"s{at}", ProRata(10.0 ** (5 + at), 0.08 - 0.01 * at), 0.08 - 0.01 * at) for at in range(3)]
    found, more = allocate(income_problem(pools, 1e6)), allocate(income_problem(pools, 1.02e6))
    gain = (more.outcome.income_usd - found.outcome.income_usd) / 0.02e6
    assert found.shadow_prices["capital"] == pytest.approx(gain, rel=0.05)


def test_the_frontier_rises_and_no_reference_beats_it() -> None:
    problem = draw_problem(3, Make(n=5))
    curve = frontier(problem, (0.0, 0.1, 0.4, 1.6))
    income = [point.outcome.income_usd for point in curve]
    tail = [point.outcome.cvar for point in curve]
    assert income == sorted(income, reverse=True)
    assert tail == sorted(tail, reverse=True)
    others = {other.name: other for other in references(problem)}
    assert set(others) == {"highest APY", "equal weight", "by TVL", "risk parity", "HRP"}
    for other in others.values():
        assert other.positions_usd.sum() <= CAPITAL_USD * (1 + 1e-9)
        assert other.outcome.income_usd <= income[0] * (1 + 1e-4)
