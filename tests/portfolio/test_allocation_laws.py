"""Laws of an allocation: limits, order, scale, gas, bands and horizons change it as they must and no other way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_problems import (
    CAPITAL_USD,
    Make,
    candidate,
    draw_paths,
    draw_problem,
    income_problem,
    objectives_of,
    steady,
    with_goal,
    with_limits,
)

from aegis_yield.domain.errors import InfeasibleError
from aegis_yield.portfolio.allocate import allocate
from aegis_yield.portfolio.impact import (
    AdaptiveCurve,
    FundingDepth,
    KinkedCurve,
    PriceTaker,
    ProRata,
    SeparateSupplyCurve,
)
from aegis_yield.portfolio.problem import Candidate, Goal, Holdings, Limits, Paths, Problem, TradeCost

GOALS = [Goal.INCOME, Goal.MEAN_CVAR, Goal.ROBUST, Goal.MEAN_VARIANCE]
LOOSER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_share": 0.2}, {"max_share": 0.5}),
    ({"max_group_share": {"chain": 0.3}}, {"max_group_share": {"chain": 0.45}}),
    ({"strategy_share": {"s0": 0.05}}, {"strategy_share": {"s0": 0.6}}),
    ({"min_tvl_usd": 4e6}, {"min_tvl_usd": 1.5e6}),
    ({"max_tvl_share": 0.02}, {"max_tvl_share": 0.1}),
    ({"min_invested_share": 0.95}, {"min_invested_share": 0.5}),
    ({"min_instant_share": 0.9}, {"min_instant_share": 0.5}),
    ({"max_exit_days": 0.2}, {"max_exit_days": 2.0}),
    ({"min_ticket_usd": 2e5}, {"min_ticket_usd": 2e4}),
    ({"max_positions": 1}, {"max_positions": 3}),
    ({"max_cvar": 0.002}, {"max_cvar": 0.01}),
    ({"max_drawdown": 0.003}, {"max_drawdown": 0.008}),
    ({"max_loss_probability": 0.001}, {"max_loss_probability": 0.01}),
    ({"max_turnover": 0.3}, {"max_turnover": 1.2}),
    ({"only": ("s0",)}, {"only": ("s0", "s1", "s3")}),
    ({"never": ("s0", "s1")}, {"never": ("s0",)}),
]


def value(problem: Problem) -> float:
    """Return the objective that an answer reaches, minus infinity where there is none."""
    try:
        return float(objectives_of(problem, allocate(problem).positions_usd[None])[0])
    except InfeasibleError:
        return -np.inf


@pytest.mark.parametrize(("tight", "loose"), LOOSER, ids=[next(iter(tight)) for tight, _ in LOOSER])
def test_a_looser_limit_never_lowers_the_optimum(tight: dict[str, Any], loose: dict[str, Any]) -> None:
    rises = 0
    for seed in (0, 1, 3):
        make = Make(n=4, scenarios=20, costs=seed == 1, held=seed < 2, concave=seed != 3)
        problem = replace(with_goal(draw_problem(seed, make), GOALS[seed]), paths=draw_paths(seed, 4))
        problem = replace(problem, objective=replace(problem.objective, risk_aversion=0.15))
        low, high = value(with_limits(problem, **tight)), value(with_limits(problem, **loose))
        assert high >= low - 3e-5 * max(abs(low), 1e-4 * CAPITAL_USD) if np.isfinite(low) else True, seed
        rises += high > low + 1.0
    assert rises > 0


def permuted(problem: Problem, order: np.ndarray) -> Problem:
    scenarios = problem.scenarios
    moved = replace(
        scenarios,
        strategy_ids=tuple(scenarios.strategy_ids[i] for i in order),
        apy=scenarios.apy[:, order],
        price_return=scenarios.price_return[:, order],
        loss=scenarios.loss[:, order],
    )
    paths = None if problem.paths is None else Paths(problem.paths.nav[:, :, order], problem.paths.probability)
    return replace(problem, candidates=tuple(problem.candidates[i] for i in order), scenarios=moved, paths=paths)


@pytest.mark.parametrize("goal", list(Goal))
def test_the_order_of_candidates_does_not_matter(goal: Goal) -> None:
    limits = Limits(max_share=0.5, max_group_share={"chain": 0.7}, max_tvl_share=0.2, max_cvar=0.02, max_drawdown=0.008)
    for seed in range(3):
        make = Make(n=4, scenarios=25, costs=seed == 1 and goal != Goal.RATIO, held=seed == 1, concave=seed != 2)
        problem = replace(with_goal(draw_problem(seed, make), goal), limits=limits, paths=draw_paths(seed, 4))
        order = np.random.default_rng(seed).permutation(4)
        one, other = allocate(problem), allocate(permuted(problem, order))
        np.testing.assert_allclose(other.positions_usd, one.positions_usd[order], atol=2e-3 * CAPITAL_USD)
        assert other.outcome.income_usd == pytest.approx(one.outcome.income_usd, rel=1e-4, abs=0.5)


def grown(one: Candidate, factor: float) -> Candidate:
    """Return a candidate of a world in which every dollar amount is so many times as large."""
    curve, sizes = one.curve, ("supply_usd", "borrow_usd", "tvl_usd", "capacity_usd", "open_interest_usd")
    larger = {name: factor * getattr(curve, name) for name in sizes if name in vars(curve)}
    assert isinstance(curve, KinkedCurve | SeparateSupplyCurve | ProRata | PriceTaker | FundingDepth | AdaptiveCurve)
    assert one.tvl_usd is not None
    assert one.instant_usd is not None
    return replace(
        one,
        curve=replace(curve, **larger),
        tvl_usd=factor * one.tvl_usd,
        instant_usd=factor * one.instant_usd,
        cost=replace(one.cost, gas_usd=factor * one.cost.gas_usd),
    )


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_world_a_thousand_times_as_large_has_the_same_shares(factor: float) -> None:
    for seed in range(5):
        make = Make(n=3, scenarios=25, costs=True, held=seed % 2 == 0, concave=seed != 3)
        problem = with_goal(draw_problem(seed, make), list(Goal)[seed])
        problem = with_limits(problem, max_share=0.6, max_tvl_share=0.1, min_ticket_usd=5e4, min_tvl_usd=1e6)
        held = {name: factor * amount for name, amount in problem.holdings.positions_usd.items()}
        limits = replace(problem.limits, min_ticket_usd=factor * 5e4, min_tvl_usd=factor * 1e6)
        larger = replace(
            problem,
            candidates=tuple(grown(one, factor) for one in problem.candidates),
            holdings=Holdings(factor * CAPITAL_USD, held),
            limits=limits,
        )
        one, other = allocate(problem), allocate(larger)
        np.testing.assert_allclose(other.positions_usd / factor, one.positions_usd, atol=1e-4 * CAPITAL_USD)
        assert other.outcome.net_apy == pytest.approx(one.outcome.net_apy, rel=1e-5, abs=1e-7)


def test_the_same_question_has_the_same_answer() -> None:
    for seed in range(3):
        problem = draw_problem(seed, Make(n=5, costs=True, held=True, concave=False))
        one, other = allocate(problem), allocate(problem)
        np.testing.assert_array_equal(one.positions_usd, other.positions_usd)
        assert one.shadow_prices == other.shadow_prices


def pools(gas: float = 0.0, **cost: float) -> tuple[Candidate, ...]:
    """Return four pools, each the best for its first dollars."""
    rates = (0.08, 0.079, 0.078, 0.077)
    cost_of = TradeCost(gas, **cost)
    return tuple(candidate(f"p{i}", ProRata(1e7, rate), rate, cost=cost_of) for i, rate in enumerate(rates))


def test_gas_makes_tiny_positions_disappear() -> None:
    counts = [int((allocate(income_problem(pools(gas), 1e6)).positions_usd > 0).sum()) for gas in (0, 1, 10, 100, 1e4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 4
    assert counts[1] > counts[3] > counts[4] == 0
    small = allocate(income_problem(pools(10.0), 3_000.0))
    assert (small.positions_usd > 0).sum() == 1


def test_gas_and_fees_are_paid_out_of_the_capital() -> None:
    for gas in (0.0, 20.0):
        found = allocate(income_problem(pools(gas, entry=0.001), 1e6))
        spent = float(found.positions_usd.sum())
        costs = 0.001 * spent + gas * int((found.positions_usd > 0).sum())
        assert found.outcome.cost_usd == pytest.approx(costs)
        assert spent + costs == pytest.approx(1e6, abs=0.5)


def two_takers(advantage: float, **cost: float) -> Problem:
    """Return 400,000 held at 5 % beside a strategy that pays so much more."""
    rates = {"a": 0.05, "b": 0.05 + advantage}
    ones = tuple(candidate(name, PriceTaker(0.05), apy, cost=TradeCost(**cost)) for name, apy in rates.items())
    problem = income_problem(ones, 4e5)
    problem = replace(problem, scenarios=steady(ones, 365), holdings=Holdings(4e5, {"a": 4e5}))
    return replace(problem, objective=replace(problem.objective, no_trade_apy=0.01))


@pytest.mark.parametrize(
    ("advantage", "moves"), [(0.0, False), (0.0095, False), (0.0105, True), (0.03, True), (-0.01, False)]
)
def test_nothing_moves_for_less_than_the_band(advantage: float, moves: bool) -> None:
    found = allocate(two_takers(advantage))
    np.testing.assert_allclose(found.positions_usd, [0.0, 4e5] if moves else [4e5, 0.0])
    if not moves:
        assert found.outcome.cost_usd == 0.0


@pytest.mark.parametrize(
    ("cost", "advantage"),
    [
        ({"entry": 0.004, "exit": 0.006}, 0.01 + 0.004 * 1.05 + 0.006 * 1.05),  # a year at 5 % is lost on costs as well
        ({"gas_usd": 1_000.0}, 0.01 + 2 * 1_000.0 / 4e5),
    ],
)
def test_nothing_moves_for_less_than_band_and_costs(cost: dict[str, float], advantage: float) -> None:
    for share, moves in ((0.97, False), (1.06, True)):
        found = allocate(two_takers(share * advantage, **cost))
        assert (found.positions_usd[0] < 4e5) == moves, share
        assert (found.positions_usd[1] > 0.0) == moves


def test_what_must_be_sold_is_sold_whatever_the_band_and_the_costs() -> None:
    problem = with_limits(two_takers(0.0, gas_usd=50.0, exit=0.01), never=("a",))
    found = allocate(problem)
    assert found.positions_usd[0] == 0.0
    assert found.positions_usd[1] == pytest.approx(4e5 - 4e3 - 100.0)


def test_a_longer_horizon_trades_more() -> None:
    """What a trade costs is earned back over more days."""
    turnovers = []
    for days in (1, 7, 30, 90, 365):
        ones = tuple(
            candidate(f"p{i}", ProRata(4e6, rate), rate, days, cost=TradeCost(15.0, 0.001, 0.001))
            for i, rate in enumerate((0.04, 0.06, 0.07, 0.05))
        )
        problem = replace(income_problem(ones, 1e6), scenarios=steady(ones, days), holdings=Holdings(1e6, {"p0": 9e5}))
        found = allocate(problem)
        turnovers.append(float(np.abs(found.positions_usd - [9e5, 0.0, 0.0, 0.0]).sum()))
    assert turnovers == sorted(turnovers)
    assert turnovers[0] == 0.0
    assert turnovers[-1] > turnovers[2] > 0.0


def test_more_aversion_means_less_income_and_less_risk() -> None:
    for seed in range(3):
        problem = draw_problem(seed, Make(n=5, scenarios=50))
        found = []
        for aversion in (0.0, 0.02, 0.05, 0.2, 1.0):
            objective = replace(problem.objective, goal=Goal.MEAN_CVAR, risk_aversion=aversion)
            found.append(allocate(replace(problem, objective=objective)).outcome)
        incomes, tails = [one.income_usd for one in found], [one.cvar for one in found]
        assert all(np.diff(incomes) <= 0.01)
        assert all(np.diff(tails) <= 1e-8)
        assert tails[-1] < tails[0]


def test_the_robust_goal_prefers_what_is_sure() -> None:
    wild = candidate("a", PriceTaker(0.05), 0.06, apy_low=-0.02)
    sure = candidate("b", PriceTaker(0.05), 0.05, apy_low=0.045)
    problem = replace(income_problem((wild, sure), 1e6))
    np.testing.assert_allclose(allocate(problem).positions_usd, [1e6, 0.0])
    robust = with_goal(problem, Goal.ROBUST)
    np.testing.assert_allclose(allocate(robust).positions_usd, [0.0, 1e6])


def test_the_robust_goal_fills_a_pool_from_its_first_dollar() -> None:
    """Regression: below zero, later and more diluted segments looked better than earlier ones."""
    thin = candidate("a", ProRata(2e5, 0.05), 0.05, apy_low=-0.10)
    problem = with_limits(with_goal(income_problem((thin,), 1e6), Goal.ROBUST), min_invested_share=0.2)
    found = allocate(problem)
    assert found.positions_usd[0] == pytest.approx(2e5)
    assert found.certificate.certified
