"""What an allocation brings, against loops over scenarios that know nothing of the package but its curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_programs import naive_tail_mean
from small_problems import CAPITAL_USD, Make, candidate, draw_problem, excesses_of, held_of, income_problem, profits_of

from aegis_yield.portfolio.impact import FundingDepth, PriceTaker, ProRata
from aegis_yield.portfolio.outcome import diluted_rates, held_usd, outcome_of, scenario_profits, trading_costs
from aegis_yield.portfolio.problem import Holdings, Problem, TradeCost

SEEDS = range(12)


def drawn(seed: int) -> tuple[Problem, np.ndarray]:
    make = Make(n=4, scenarios=25, costs=True, held=True, concave=seed % 2 == 0)
    problem = draw_problem(seed, make)
    problem = replace(problem, objective=replace(problem.objective, risk_free_apy=0.03, level=(0.9, 0.95)[seed % 2]))
    shares = np.random.default_rng(seed).dirichlet(np.ones(5))[:-1]
    room = np.array([one.curve.capacity_usd for one in problem.candidates]) + held_of(problem)
    return problem, np.minimum(0.99 * CAPITAL_USD * shares, room)


def naive_profits(problem: Problem, positions: np.ndarray) -> list[float]:
    """One scenario after the other, one position after the other."""
    days, capital = problem.scenarios.horizon_days, problem.holdings.capital_usd
    costs = 0.0
    for one, amount in zip(problem.candidates, positions.tolist(), strict=True):
        moved = amount - problem.holdings.positions_usd.get(one.strategy_id, 0.0)
        if moved > 0:
            costs += one.cost.gas_usd + one.cost.entry * moved
        elif moved < 0:
            costs += one.cost.gas_usd - one.cost.exit * moved
    found = []
    for s in range(len(problem.scenarios.probability)):
        cash = capital - float(positions.sum()) - costs
        end = cash * (1.0 + problem.objective.risk_free_apy) ** (days / 365)
        for i, one in enumerate(problem.candidates):
            before = problem.holdings.positions_usd.get(one.strategy_id, 0.0)
            paid = float(one.curve.rate(np.array([positions[i] - before]))[0])
            kept = paid / float(one.curve.rate(np.array([0.0]))[0])
            growth = (1.0 + problem.scenarios.apy[s, i]) ** (days / 365) - 1.0
            growth = growth * kept if growth > 0 else growth
            after = (1.0 + problem.scenarios.price_return[s, i]) * (1.0 - problem.scenarios.loss[s, i])
            end += positions[i] * after * (1.0 + growth)
        found.append(end - capital)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_figure_equals_a_loop_over_scenarios(seed: int) -> None:
    problem, positions = drawn(seed)
    profits = naive_profits(problem, positions)
    np.testing.assert_allclose(scenario_profits(problem, positions), profits, rtol=1e-9)
    np.testing.assert_allclose(profits_of(problem, positions[None])[0], profits, rtol=1e-9)
    found, mass, years = outcome_of(problem, positions), problem.scenarios.probability.tolist(), 30 / 365
    income = sum(p * x for p, x in zip(mass, profits, strict=True))
    losses = [-x / CAPITAL_USD for x in profits]
    level = problem.objective.level
    assert found.income_usd == pytest.approx(income, rel=1e-9)
    assert found.net_apy == pytest.approx((1 + income / CAPITAL_USD) ** (1 / years) - 1, rel=1e-9)
    tail = naive_tail_mean(np.array(losses), problem.scenarios.probability, level)
    assert found.cvar == pytest.approx(tail, rel=1e-9)
    assert found.loss_probability == pytest.approx(sum(p for p, x in zip(mass, losses, strict=True) if x > 0.01))
    assert found.worst_loss == pytest.approx(max(losses))
    above = [x for x in sorted(losses) if sum(p for p, y in zip(mass, losses, strict=True) if y <= x) >= level - 1e-12]
    assert found.var == pytest.approx(above[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_nine_in_ten_scenarios_lie_between_low_and_high(seed: int) -> None:
    problem, positions = drawn(seed)
    found = outcome_of(problem, positions)
    apys = [(1 + x / CAPITAL_USD) ** (365 / 30) - 1 for x in naive_profits(problem, positions)]
    mass = problem.scenarios.probability
    assert sum(p for p, apy in zip(mass, apys, strict=True) if apy < found.net_apy_low - 1e-12) < 0.05 + 1e-9
    assert sum(p for p, apy in zip(mass, apys, strict=True) if apy > found.net_apy_high + 1e-12) <= 0.05 + 1e-9
    assert found.net_apy_low < found.net_apy_high


def test_costs_are_paid_where_something_moves_and_nowhere_else() -> None:
    cost = TradeCost(10.0, entry=0.001, exit=0.002)
    ones = tuple(candidate(name, PriceTaker(0.05), 0.05, cost=cost) for name in "abcd")
    held = {"a": 100_000.0, "b": 100_000.0, "c": 100_000.0}
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, held))
    positions = np.array([100_000.0, 40_000.0, 160_000.0, 50_000.0])
    costs = [0.0, 10 + 0.002 * 60_000, 10 + 0.001 * 60_000, 10 + 0.001 * 50_000]
    np.testing.assert_allclose(trading_costs(problem, positions), costs)
    found = outcome_of(problem, positions)
    assert found.cost_usd == pytest.approx(sum(costs))
    assert found.income_usd == pytest.approx(350_000 * (1.05 ** (30 / 365) - 1) - sum(costs))
    np.testing.assert_array_equal(held_usd(problem), [100_000.0, 100_000.0, 100_000.0, 0.0])


def test_a_pool_pays_what_its_curve_says_after_the_deposit() -> None:
    ones = (candidate("a", ProRata(100_000.0, 0.1), 0.05), candidate("b", ProRata(100_000.0, 0.1), 0.05))
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"b": 50_000.0}))
    rates = diluted_rates(problem, np.array([100_000.0, 0.0]))
    simple = (1.05 ** (30 / 365) - 1) * 365 / 30
    np.testing.assert_allclose(rates, [simple / 2, simple * 2])  # shared by twice as many; b halves its pool
    found = outcome_of(problem, np.array([100_000.0, 50_000.0]))
    gross = (100_000 * simple / 2 + 50_000 * simple) / 1e6 * 30 / 365
    assert found.gross_apy == pytest.approx((1 + gross) ** (365 / 30) - 1)


def test_a_rate_that_is_lost_is_lost_in_full_however_much_is_deposited() -> None:
    one = candidate("a", FundingDepth(-0.1, 1e7, 0.3), -0.1)
    problem = income_problem((one,), 1e6)
    for amount in (1.0, 400_000.0):
        assert scenario_profits(problem, np.array([amount]))[0] == pytest.approx(amount * (0.9 ** (30 / 365) - 1))


def test_all_cash_brings_what_is_free_of_risk() -> None:
    problem, _ = drawn(0)
    problem = replace(problem, holdings=Holdings(CAPITAL_USD))
    found = outcome_of(problem, np.zeros(4))
    assert found.net_apy == pytest.approx(0.03)
    assert found.net_apy_low == pytest.approx(0.03)
    assert found.cvar == pytest.approx(-(1.03 ** (30 / 365) - 1))
    assert found.cost_usd == 0.0
    assert found.loss_probability == 0.0
    assert max(excesses_of(problem, np.zeros((1, 4)))["capital"]) <= 0.0


def test_a_scenario_that_cannot_happen_is_not_the_worst() -> None:
    problem, positions = drawn(1)
    profits = np.array(naive_profits(problem, positions))
    worst = int(profits.argmin())
    mass = problem.scenarios.probability.copy()
    mass[worst] = 0.0
    problem = replace(problem, scenarios=replace(problem.scenarios, probability=mass / mass.sum()))
    assert outcome_of(problem, positions).worst_loss == pytest.approx(-np.delete(profits, worst).min() / CAPITAL_USD)
