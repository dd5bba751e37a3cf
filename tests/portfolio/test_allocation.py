"""Allocations are the best there are: against every point of fine grids, against water-filling and its proofs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lending_markets import Plain, best_by_programme, sturdy_market
from small_problems import (
    CAPITAL_USD,
    FREE,
    Make,
    best_by_grid,
    candidate,
    draw_limits,
    draw_paths,
    draw_problem,
    grid,
    income_problem,
    obeys,
    objectives_of,
    steady,
    with_goal,
    with_limits,
)

from aegis_yield.domain.errors import InfeasibleError
from aegis_yield.portfolio import passes
from aegis_yield.portfolio.allocate import allocate, cutoff
from aegis_yield.portfolio.impact import KinkedCurve, PriceTaker, ProRata, RateCurve
from aegis_yield.portfolio.income import best_split
from aegis_yield.portfolio.outcome import outcome_of
from aegis_yield.portfolio.problem import Candidate, Goal, Holdings, Limits, Problem

NEAR = 3e-5
"""Of the best point's objective, or of a ten-thousandth of the capital: what chords may cost."""

YEAR = 365
"""A horizon over which apy and simple rate are the same."""


def as_problem(curves: list[RateCurve], capital: float) -> Problem:
    """Return a problem of income over a year in which each pool pays exactly what its curve says."""
    ones = tuple(
        Candidate(f"p{i}", {}, float(curve.rate(np.zeros(1))[0]), 0.0, curve) for i, curve in enumerate(curves)
    )
    return replace(income_problem(ones, capital), scenarios=steady(ones, YEAR))


def shortfall(problem: Problem, steps: int) -> float:
    """Return by how much an answer is below the best point of a grid, relative to it."""
    ours = float(objectives_of(problem, allocate(problem).positions_usd[None])[0])
    _, best = best_by_grid(problem, steps)
    return (best - ours) / max(abs(best), 1e-4 * CAPITAL_USD)


MAKES = [
    Make(n=2),
    Make(n=2, concave=False),
    Make(n=2, costs=True),
    Make(n=2, costs=True, held=True),
    Make(n=2, costs=True, held=True, concave=False),
]


@pytest.mark.parametrize("goal", [Goal.INCOME, Goal.MEAN_CVAR, Goal.ROBUST, Goal.MEAN_VARIANCE])
@pytest.mark.parametrize("make", MAKES, ids=["concave", "above a kink", "costs", "held", "all"])
def test_no_point_of_a_grid_is_better(goal: Goal, make: Make) -> None:
    for seed in range(3):
        problem = with_goal(draw_problem(seed, make), goal)
        if goal == Goal.MEAN_VARIANCE:
            problem = replace(problem, objective=replace(problem.objective, risk_aversion=10.0))
        assert shortfall(problem, 100) < NEAR, seed


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_grid_in_three_dimensions_is_better(seed: int) -> None:
    make = Make(n=3, scenarios=30, costs=seed % 2 == 1, held=seed % 4 > 1, concave=seed % 3 > 0)
    assert shortfall(with_goal(draw_problem(20 + seed, make), (Goal.INCOME, Goal.MEAN_CVAR)[seed % 2]), 40) < NEAR


def test_no_point_of_a_grid_that_keeps_to_the_limits_is_better() -> None:
    compared = 0
    for seed in range(30):
        make = Make(n=2, scenarios=30, costs=seed % 2 == 1, held=seed % 3 == 0, concave=seed % 5 > 0)
        goal = (Goal.INCOME, Goal.MEAN_CVAR, Goal.ROBUST)[seed % 3]
        problem = replace(with_goal(draw_problem(seed, make), goal), paths=draw_paths(seed, 2))
        # What keeps the probability of a loss is stricter than asked: not comparable.
        problem = replace(problem, limits=replace(draw_limits(seed, problem), max_loss_probability=None))
        if not len(grid(problem, 60)):
            continue
        compared += 1
        assert shortfall(problem, 60) < NEAR, seed
    assert compared > 20


def test_where_no_point_of_a_grid_keeps_to_the_limits_there_is_none() -> None:
    refused = 0
    for seed in range(60):
        problem = draw_problem(seed, Make(n=2, scenarios=20, held=True))
        problem = replace(problem, limits=draw_limits(seed, problem), paths=draw_paths(seed, 2))
        try:
            assert obeys(problem, allocate(problem).positions_usd[None], 1e-6).all()
        except InfeasibleError:
            refused += 1
            if problem.limits.max_loss_probability is None:
                assert not len(grid(problem, 100)), seed
    assert refused >= 3


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_grid_has_a_better_ratio(seed: int) -> None:
    problem = with_goal(draw_problem(seed, Make(n=3, scenarios=30)), Goal.RATIO)
    found = allocate(problem)
    assert found.certificate.status in ("optimal", "nothing_beats_cash")
    if found.certificate.status == "nothing_beats_cash":
        points = grid(with_goal(problem, Goal.INCOME), 40)
        assert objectives_of(with_goal(problem, Goal.INCOME), points).max() <= 0.0
        return
    first = np.linspace(0.0, CAPITAL_USD, 201)
    points = np.array([(a, b, CAPITAL_USD - a - b) for a in first for b in first if a + b <= CAPITAL_USD])
    points = points[obeys(problem, points, 1e-9)]
    ours = float(objectives_of(problem, found.positions_usd[None])[0])
    assert ours >= objectives_of(problem, points).max() * (1 - NEAR)
    room = sum(min(one.curve.capacity_usd, CAPITAL_USD) for one in problem.candidates)
    assert found.positions_usd.sum() >= 0.999 * min(CAPITAL_USD, room) - 1.0


def concave_pools(seed: int, n: int = 6) -> list[RateCurve]:
    rng = np.random.default_rng([11, seed])
    pools: list[RateCurve] = []
    for i in range(n):
        size, rate = float(rng.uniform(2e5, 5e6)), float(rng.uniform(0.01, 0.12))
        if i % 2:
            pools.append(ProRata(size, rate, 0.2 * rate))
        else:
            pools.append(KinkedCurve(size, float(rng.uniform(0.3, 0.8)) * size, 0.01, rate, 0.6, 0.9, 0.1))
    return pools


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("capital", [1e4, 1e6, 2e7])
def test_marginal_incomes_are_equal_where_something_is_and_lower_where_nothing_is(seed: int, capital: float) -> None:
    pools = concave_pools(seed)
    found, best = allocate(as_problem(pools, capital)), best_split(pools, capital)
    assert best.certified
    assert found.outcome.income_usd == pytest.approx(best.income_usd, rel=1e-5)
    assert found.outcome.income_usd <= best.upper_bound_usd * (1 + 1e-9)
    marginal = np.array([float(p.marginal(np.array([x]))[0]) for p, x in zip(pools, found.positions_usd, strict=True)])
    inside = found.positions_usd > 0.0
    np.testing.assert_allclose(marginal[inside], best.marginal_income, rtol=0.01)
    assert (marginal[~inside] <= best.marginal_income * 1.01).all()
    if inside.sum() > 1:
        assert cutoff(found) == pytest.approx(best.marginal_income, rel=0.01)
    else:  # one pool holds all that it may: it is the next best that one more dollar would go to
        assert cutoff(found) == pytest.approx(max(marginal[~inside]), rel=0.01)
    assert found.positions_usd.sum() == pytest.approx(capital)


def test_water_filling_of_shared_flows_is_the_closed_form() -> None:
    sizes, rates = np.array([1e6, 2e6, 5e5]), np.array([0.08, 0.06, 0.09])
    pools: list[RateCurve] = [ProRata(float(t), float(a)) for t, a in zip(sizes, rates, strict=True)]
    capital = 1e6
    root = np.sqrt(rates)
    expected = sizes * (root * (capital + sizes.sum()) / (sizes @ root) - 1.0)
    assert (expected > 0).all()
    found = allocate(as_problem(pools, capital))
    np.testing.assert_allclose(found.positions_usd, expected, rtol=0.01)
    income = float((rates * sizes * expected / (sizes + expected)).sum())
    assert found.outcome.income_usd == pytest.approx(income, rel=1e-6)


@pytest.mark.parametrize("capital", [0.1, 0.5, 2.0])
def test_pools_above_their_kinks_are_filled_in_the_best_way(capital: float) -> None:
    for seed in range(3):
        market = sturdy_market(seed)
        found = allocate(as_problem(list(market), capital))
        best = Plain(market).total(best_by_programme(market, capital, 500))
        assert found.outcome.income_usd == pytest.approx(Plain(market).total(found.positions_usd), rel=1e-9)
        assert found.outcome.income_usd >= best * (1 - 1e-4), seed
        assert found.certificate.certified


def test_nothing_beyond_a_kink_is_promised_before_all_below_it_is_full() -> None:
    """Regression: the segments just above the kink, which pay least, were left out and those beyond it used."""
    pool = KinkedCurve(1e6, 9.6e5, 0.0, 0.08, 1.5, 0.8)
    problem = as_problem([pool, PriceTaker(0.02)], 1e6)
    found = allocate(problem)
    points = np.linspace(0.0, 1e6, 100_001)
    incomes = points * pool.rate(points) + 0.02 * (1e6 - points)
    assert found.outcome.income_usd == pytest.approx(float(incomes.max()), rel=1e-6)
    assert found.positions_usd[0] == pytest.approx(points[incomes.argmax()], abs=5_000.0)


def test_a_pool_is_left_while_the_rest_of_it_is_paid_more() -> None:
    """Withdrawing raises the rate of what stays: the best position is below what is held, above nothing."""
    ones = (candidate("a", ProRata(2e6, 0.08), 0.08), candidate("b", PriceTaker(0.05), 0.05))
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"a": 1e6}))
    problem = replace(problem, objective=replace(problem.objective, no_trade_apy=0.0))
    found = allocate(problem)
    assert shortfall(problem, 200) < 1e-6
    assert 0.0 < found.positions_usd[0] < 1e6
    assert found.positions_usd.sum() == pytest.approx(1e6)


def test_what_is_beyond_all_capacity_stays_cash() -> None:
    ones = tuple(candidate(name, PriceTaker(0.05, 2e5), 0.05) for name in "ab")
    found = allocate(income_problem(ones, 1e6))
    np.testing.assert_allclose(found.positions_usd, 2e5)
    assert found.cash_usd == pytest.approx(6e5)
    assert cutoff(found) == 0.0


def test_idle_cash_earns_what_is_free_of_risk() -> None:
    ones = (candidate("a", PriceTaker(0.03), 0.03), candidate("b", ProRata(1e5, 0.08), 0.08))
    problem = income_problem(ones, 1e6)
    problem = replace(problem, objective=replace(problem.objective, risk_free_apy=0.04))
    found = allocate(problem)
    assert found.positions_usd[0] == 0.0
    assert 0.0 < found.positions_usd[1] < 1e6
    assert shortfall(problem, 200) < 1e-6
    assert cutoff(found) == pytest.approx(1.04 ** (30 / 365) - 1)


def test_everything_forbidden_is_all_cash_and_what_is_held_is_sold() -> None:
    problem = draw_problem(3, Make(n=3, held=True, costs=True))
    found = allocate(with_limits(problem, never=("s0", "s1", "s2")))
    np.testing.assert_array_equal(found.positions_usd, 0.0)
    assert found.cash_usd == pytest.approx(CAPITAL_USD - found.outcome.cost_usd)
    assert found.outcome.cost_usd > 0.0


def test_figures_are_of_the_true_curves() -> None:
    for seed in range(5):
        found = allocate(draw_problem(seed, Make(n=4, scenarios=25, costs=True, concave=False)))
        assert found.outcome == outcome_of(found.problem, found.positions_usd)
        value = float(objectives_of(found.problem, found.positions_usd[None])[0])
        assert value >= float(objectives_of(found.problem, np.zeros((1, 4)))[0])


def test_an_answer_that_was_not_searched_to_the_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = with_limits(draw_problem(1, Make(n=5, costs=True, held=True)), max_positions=2, min_ticket_usd=1e5)
    best = allocate(problem)
    assert best.certificate.certified
    assert best.certificate.n_exact == 5
    monkeypatch.setattr(passes, "SEARCH_S", 0.0)
    found = allocate(problem)
    assert (found.certificate.certified, found.certificate.status) == (False, "time_limit")
    assert found.certificate.n_exact == 0
    assert obeys(problem, found.positions_usd[None], 1e-6).all()
    values = [float(objectives_of(problem, one.positions_usd[None])[0]) for one in (found, best)]
    assert values[0] <= values[1] * (1 + 1e-6)
    assert (values[1] - values[0]) / values[1] <= found.certificate.gap < 0.1


def test_a_search_without_any_answer_is_not_called_a_conflict_of_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    # One position, and half of the capital invested: only the worst has room for that, and not by its size alone.
    ones = tuple(
        candidate(name, PriceTaker(0.05), apy) for name, apy in zip("abcd", (0.03, 0.08, 0.08, 0.08), strict=True)
    )
    limits = Limits(max_share=0.3, strategy_share={"a": 0.5}, min_invested_share=0.5, max_positions=1)
    problem = income_problem(ones, 1e6, limits)
    np.testing.assert_allclose(allocate(problem).positions_usd, [5e5, 0.0, 0.0, 0.0])
    monkeypatch.setattr(passes, "SEARCH_S", 0.0)
    with pytest.raises(passes.UnansweredError, match="no solver found an allocation"):
        allocate(problem)


def test_limits_beside_each_other_are_kept_at_a_ratio_too() -> None:
    """Regression: that all be invested was decided before the number of positions, and contradicted it."""
    problem = with_goal(draw_problem(2, Make(n=4, costs=True)), Goal.RATIO)
    problem = replace(problem, limits=Limits(max_share=0.3, max_tvl_share=1.0, max_positions=2))
    found = allocate(problem)
    assert obeys(problem, found.positions_usd[None], 1e-6).all()
    if found.certificate.status != "nothing_beats_cash":
        assert found.positions_usd.sum() > 0.59 * CAPITAL_USD


def test_the_whole_capital_in_one_place_where_that_is_best() -> None:
    ones = (candidate("a", PriceTaker(0.05), 0.05), candidate("b", PriceTaker(0.08), 0.08))
    found = allocate(income_problem(ones, 1e6, FREE))
    np.testing.assert_allclose(found.positions_usd, [0.0, 1e6])
