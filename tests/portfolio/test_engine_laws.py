"""Laws that hold for any program: limits are obeyed, more room never hurts, names and units do not matter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from engine_programs import even, market
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.portfolio.engine import CVaR, Drawdown, Limit, Program, Risk, RiskLimit, Variance, solve, solve_ratio
from aegis_yield.utils.typing import FloatArray, IntArray

KINDS = ("cvar", "drawdown", "variance", "deviation", "none")


@dataclass(frozen=True)
class Case:
    """A random program, in parts that can be permuted and scaled."""

    returns: FloatArray
    cap: FloatArray
    group: FloatArray
    share: float
    kind: str
    aversion: float
    budget: float

    def risk(self, kind: str, capital: float = 1.0) -> Risk | None:
        """Return a risk of this case; a variance is divided by the capital so that it scales like the rest."""
        if kind == "cvar":
            return CVaR(self.returns, even(len(self.returns)), 0.9)
        if kind == "drawdown":
            return Drawdown(np.cumsum(self.returns, axis=0)[None], np.ones(1), 0.8)
        if kind == "variance":
            return Variance(np.cov(self.returns.T) / capital)
        return Variance(np.cov(self.returns.T), root=True) if kind == "deviation" else None

    def program(self, capital: float = 1.0) -> Program:
        """Return the program for a capital; capital may stay idle, so that it can always be met."""
        n = self.returns.shape[1]
        tail = self.risk("cvar")
        assert tail is not None
        return Program(
            self.returns.mean(0) + 0.0005,
            self.cap * capital,
            (Limit("budget", np.ones(n), upper=capital), Limit("group", self.group, upper=self.share * capital)),
            risk=self.risk(self.kind, capital),
            aversion=self.aversion,
            risk_limits=(RiskLimit("tail", tail, self.budget * capital),),
        )

    def permuted(self, order: IntArray) -> Case:
        """Return the case with its columns in another order."""
        return replace(self, returns=self.returns[:, order], cap=self.cap[order], group=self.group[order])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n, seed = draw(st.integers(2, 8)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return Case(
        market(80, n, seed),
        rng.uniform(0.1, 1.0, n),
        rng.integers(0, 2, n).astype(float),
        draw(st.floats(0.05, 1.0)),
        draw(st.sampled_from(KINDS)),
        draw(st.floats(0.001, 0.5)),
        draw(st.floats(0.002, 0.05)),
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_answers_are_certified_and_obey_every_limit(case: Case) -> None:
    program = case.program()
    found = solve(program)
    assert (found.status, found.certified) == ("optimal", True)
    assert (found.values >= 0).all()
    assert (found.values <= program.upper).all()
    assert found.values.sum() <= 1 + 1e-7
    assert case.group @ found.values <= case.share + 1e-7
    tail = program.risk_limits[0]
    assert tail.risk.of(found.values) <= tail.upper + 1e-7 * tail.risk.size(1.0)


@settings(max_examples=40, deadline=None)
@given(cases(), st.floats(1.0, 2.0))
def test_a_looser_limit_never_lowers_the_optimum(case: Case, looser: float) -> None:
    tight, slack = solve(case.program()), 1e-6 * abs(solve(case.program()).objective) + 1e-12
    for wider in (
        replace(case, share=case.share * looser),
        replace(case, budget=case.budget * looser),
        replace(case, cap=case.cap * looser),
    ):
        assert solve(wider.program()).objective >= tight.objective - slack


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_permuting_columns_permutes_the_answer(case: Case, shuffler: object) -> None:
    n = case.returns.shape[1]
    order = np.random.default_rng(shuffler.randint(0, 2**31)).permutation(n)  # type: ignore[attr-defined]
    found, other = solve(case.program()), solve(case.permuted(order).program())
    assert other.objective == pytest.approx(found.objective, rel=1e-6, abs=1e-12)
    back = other.values[np.argsort(order)]
    # where the optimum is not unique another optimum is as good: what must agree is its worth in the first program
    program = case.program()
    risk = program.aversion * program.risk.of(back) if program.risk is not None else 0.0
    assert program.gain @ back - risk == pytest.approx(found.objective, rel=1e-6, abs=1e-12)
    if case.kind in ("variance", "deviation") and found.values.sum() > 0.01:
        assert back == pytest.approx(found.values, abs=2e-3)


@settings(max_examples=30, deadline=None)
@given(cases(), st.sampled_from([1e-3, 7.0, 1e6, 1e9]))
def test_the_unit_of_money_does_not_matter(case: Case, capital: float) -> None:
    one, scaled = solve(case.program()), solve(case.program(capital))
    assert scaled.certified
    assert scaled.objective == pytest.approx(one.objective * capital, rel=2e-6, abs=1e-12 * capital)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_best_ratio_is_above_that_of_any_other_portfolio(case: Case) -> None:
    kind = "cvar" if case.kind in ("variance", "none") else case.kind
    program = replace(case.program(), risk=case.risk(kind), risk_limits=())
    found = solve_ratio(program, hurdle=0.0)
    if found.status != "optimal":
        assert found.status in ("nothing_beats_cash", "riskless")
        return
    assert program.risk is not None
    assert program.gain @ found.values / program.risk.of(found.values) == pytest.approx(found.objective, rel=1e-9)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = rng.uniform(0, 1, len(case.cap)) ** 3 * case.cap
        other *= min(1.0, 1 / other.sum(), case.share / max(case.group @ other, 1e-9))
        assert program.gain @ other / program.risk.of(other) <= found.objective * (1 + 1e-6)
