"""The solvers agree with each other and with the full program, and a wrong answer is not believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from engine_programs import even, full_tail_objective, market, tail_program, whole

from aegis_yield.portfolio.engine import CVaR, Drawdown, Limit, Program, RiskLimit, Variance, solve, solving
from aegis_yield.portfolio.engine.answer import Answer, Master
from aegis_yield.portfolio.engine.conic import ConicMaster
from aegis_yield.portfolio.engine.cuts import Cuts, first_cuts
from aegis_yield.portfolio.engine.linear import LinearMaster
from aegis_yield.portfolio.engine.scales import Scales
from aegis_yield.portfolio.engine.solving import converge, solve_with
from aegis_yield.portfolio.engine.verify import certify, residual_of

MASTERS: dict[str, Callable[[Program, list[Cuts]], Master]] = {
    "simplex": LinearMaster,
    "ipm": lambda program, cuts: LinearMaster(program, cuts, method="ipm"),
    "conic": ConicMaster,
    "conic as it is": lambda program, cuts: ConicMaster(program, cuts, equilibrate=False),
}


def crowded(capital: float) -> Program:
    """Return a program in which a tail, a drawdown, a variance and a deviation are all bounded and most bind."""
    returns = market(300, 10, seed=1)
    covariance = np.cov(returns.T)
    group = np.repeat([1.0, 0.0], 5)
    plain = Program(
        returns.mean(0),
        np.full(10, 0.5 * capital),
        (whole(10, capital), Limit("group", group, upper=0.6 * capital)),
        risk=CVaR(returns, even(300)),
        aversion=0.01,
    )
    best = solve(plain).values / capital
    paths = Drawdown(np.cumsum(returns, axis=0)[None], np.ones(1), 0.9)
    deviation = float(np.sqrt(best @ covariance @ best))
    budgets = (
        RiskLimit("drawdown", paths, 0.9 * capital * paths.of(best)),
        RiskLimit("variance", Variance(covariance), 0.97 * capital**2 * deviation**2),
        RiskLimit("deviation", Variance(covariance, root=True), 0.0, np.full(10, 0.97 * deviation)),
    )
    return replace(plain, risk_limits=budgets)


@pytest.mark.parametrize("name", MASTERS)
@pytest.mark.parametrize("capital", [1.0, 1e6])
def test_every_solver_proves_the_same_optimum(name: str, capital: float) -> None:
    program = crowded(capital)
    cuts = first_cuts(program)
    proof = certify(program, cuts, converge(MASTERS[name](program, cuts), cuts, Scales.of(program)))
    assert proof.holds
    assert proof.gap < 1e-7
    assert proof.objective / capital == pytest.approx(solve(crowded(1.0)).objective, rel=1e-7)
    assert proof.budget_prices.max() > 0


@pytest.mark.parametrize("n", [3, 20, 60])
@pytest.mark.parametrize("aversion", [0.02, 1.0])
def test_the_tail_program_is_the_full_one(n: int, aversion: float) -> None:
    program = tail_program(market(1000, n, seed=n), cap=max(0.1, 1.5 / n), aversion=aversion)
    found = solve(program)
    assert found.certified
    assert found.solver == "HiGHS simplex"
    assert found.objective == pytest.approx(full_tail_objective(program), rel=1e-9)


def test_rare_events_of_exact_probability_are_seen() -> None:
    rng = np.random.default_rng(8)
    ordinary, n = np.abs(rng.normal(0.002, 0.001, (500, 6))), 6
    events = -0.8 * np.eye(n)
    hazard = np.full(n, 1e-4) * np.arange(1, n + 1)
    probability = np.concatenate([even(500) * (1 - hazard.sum()), hazard])
    risk = CVaR(np.vstack([ordinary, events]), probability)
    program = Program(probability @ risk.returns, np.ones(n), (whole(n),), risk=risk, aversion=0.05)
    found = solve(program)
    assert found.certified
    assert found.objective == pytest.approx(full_tail_objective(program), rel=1e-9)


def spoiled(answer: Answer) -> Answer:
    """Return an answer moved off the optimum within the budget, as a solver that stopped early would."""
    values = 0.5 * answer.values + 0.5 * answer.values[::-1]
    return replace(answer, values=values)


def test_a_worse_answer_is_not_certified() -> None:
    program = tail_program(market(300, 6), cap=0.4)
    cuts = first_cuts(program)
    answer = converge(LinearMaster(program, cuts), cuts, Scales.of(program))
    assert certify(program, cuts, answer).holds
    assert not certify(program, cuts, spoiled(answer)).holds


@pytest.mark.parametrize("seed", range(20))
def test_no_prices_whatever_prove_a_false_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = crowded(1.0)
    cuts = first_cuts(program)
    best = solve(program).objective
    for _ in range(5):
        answer = Answer(
            "optimal",
            values=rng.uniform(0, 0.5, 10),
            levels=np.zeros(4),
            excess=(),
            prices=rng.normal(0, 0.01, 2),
            budget_prices=rng.exponential(0.01, 3),
            duals=tuple(rng.exponential(1.0, len(known.units)) for known in cuts),
            directions=(None, None, rng.normal(size=10), rng.normal(size=10)),
        )
        assert certify(program, cuts, answer).bound >= best - 1e-12


class Wrong:
    """A solver that calls a poor answer optimal."""

    name = "wrong"

    def __init__(self, program: Program, cuts: list[Cuts]) -> None:
        self._inner = LinearMaster(program, cuts)

    def knows(self, risk: int) -> bool:
        return True

    def solve(self) -> Answer:
        return spoiled(self._inner.solve())


def test_a_wrong_solver_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    program = tail_program(market(300, 6), cap=0.4)
    wanted = solve(program).objective
    monkeypatch.setattr(solving, "_masters", lambda p, c, _: iter([lambda: Wrong(p, c), lambda: LinearMaster(p, c)]))
    found = solve(program)
    assert (found.solver, found.certified) == ("HiGHS simplex", True)
    assert found.objective == pytest.approx(wanted)
    monkeypatch.setattr(solving, "_masters", lambda p, c, _: iter([lambda: Wrong(p, c)]))
    alone = solve(program)
    assert (alone.status, alone.certified) == ("uncertified", False)
    assert alone.gap > 1e-6


def test_residuals_are_measured_against_the_bound() -> None:
    program = Program(np.ones(2), np.full(2, 1e6), (Limit("sum", np.ones(2), upper=1e6),))
    assert residual_of(program, np.array([5e5, 5e5])) == 0
    assert residual_of(program, np.array([5e5, 5.1e5])) == pytest.approx(0.01)
    assert residual_of(program, np.array([-1.0, 0.0])) == pytest.approx(1.0)


def test_what_has_no_end_is_called_unbounded() -> None:
    found = solve(Program(np.ones(2), np.full(2, np.inf), (Limit("difference", np.array([1.0, -1.0]), upper=1.0),)))
    assert found.status == "unbounded"
    assert not found.certified
    assert np.isnan(found.values).all()


def test_nothing_to_gain_is_an_answer() -> None:
    found = solve(Program(-np.ones(3), np.ones(3), risk=CVaR(market(50, 3), even(50))))
    assert found.certified
    assert found.values == pytest.approx(0.0)
    assert found.objective == 0.0


def test_all_columns_shut_is_an_answer() -> None:
    found = solve(Program(np.ones(3), np.zeros(3), constant=5.0))
    assert found.certified
    assert found.objective == 5.0


def test_cuts_learned_before_are_of_use_again() -> None:
    program = tail_program(market(1000, 30), cap=0.2)
    cuts = first_cuts(program)
    first = solve_with(program, cuts)
    learned = len(cuts[0].units)
    again = solve_with(program, cuts)
    assert len(cuts[0].units) == learned < 400
    assert again.objective == pytest.approx(first.objective, rel=1e-12)
