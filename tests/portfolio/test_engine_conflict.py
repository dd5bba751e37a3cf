"""A program that cannot be met: the conflict named is minimal, and the relaxation makes it feasible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_programs import even, market, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.portfolio.engine import (
    CAPACITY,
    Conflict,
    Count,
    CVaR,
    Drawdown,
    Limit,
    Program,
    RiskLimit,
    Switch,
    Variance,
    diagnose,
    solve,
)

RETURNS = market(200, 6, seed=1)


def without(program: Program, name: str) -> Program:
    """Return the program with one thing less."""
    if name == CAPACITY:
        return replace(program, upper=np.full(program.n_columns, np.inf))
    return replace(
        program,
        limits=tuple(limit for limit in program.limits if limit.name != name),
        risk_limits=tuple(limit for limit in program.risk_limits if limit.name != name),
        switches=tuple(replace(x, ticket=0.0) if x.name == name else x for x in program.switches),
        counts=tuple(count for count in program.counts if count.name != name),
    )


def only(program: Program, names: tuple[str, ...]) -> Program:
    """Return the program with nothing but the named."""
    every = [x.name for x in (*program.limits, *program.risk_limits)] + [CAPACITY]
    for name in every:
        program = program if name in names else without(program, name)
    return program


def relaxed(program: Program, conflict: Conflict) -> Program:
    """Return the program with its bounds given way by the relaxation, and a hair more."""
    give = {name: amount * (1 + 1e-6) for name, amount in conflict.relaxation.items()}
    return replace(
        program,
        limits=tuple(
            replace(x, lower=x.lower - give.get(x.name, 0), upper=x.upper + give.get(x.name, 0)) for x in program.limits
        ),
        risk_limits=tuple(replace(x, upper=x.upper + give.get(x.name, 0)) for x in program.risk_limits),
        upper=program.upper + give.get(CAPACITY, 0.0),
    )


def check(program: Program) -> Conflict:
    assert solve(program).status == "infeasible"
    conflict = diagnose(program)
    assert conflict is not None
    assert solve(only(program, conflict.limits)).status == "infeasible"
    for name in conflict.limits:
        assert solve(without(only(program, conflict.limits), name)).status != "infeasible", name
    assert conflict.relaxation
    assert solve(relaxed(program, conflict)).status != "infeasible"
    return conflict


def test_what_can_be_met_has_no_conflict() -> None:
    assert diagnose(Program(np.ones(6), np.ones(6), (whole(6),))) is None


def test_caps_too_small_for_the_capital() -> None:
    idle = Limit("idle", np.ones(6), upper=9.0)
    conflict = check(Program(np.zeros(6), np.full(6, 0.1), (whole(6), idle)))
    assert set(conflict.limits) == {"budget", CAPACITY}
    assert sum(conflict.relaxation.values()) == pytest.approx(0.4)


def test_groups_that_leave_no_room() -> None:
    first = np.repeat([1.0, 0.0], 3)
    limits = (whole(6), Limit("one", first, upper=0.2), Limit("other", 1 - first, upper=0.5), Limit("x", first, 0, 3))
    conflict = check(Program(np.zeros(6), np.ones(6), limits))
    assert set(conflict.limits) == {"budget", "one", "other"}
    assert conflict.relaxation == {"budget": pytest.approx(0.3)}


@pytest.mark.parametrize(
    ("risk", "share"),
    [
        (CVaR(RETURNS, even(200)), 0.8),
        (Drawdown(np.cumsum(RETURNS, axis=0)[None], np.ones(1), 0.9), 0.7),
        (Variance(np.cov(RETURNS.T)), 0.9),
        (Variance(np.cov(RETURNS.T), root=True), 0.9),
    ],
)
def test_a_budget_below_the_least_risk(risk: CVaR, share: float) -> None:
    plain = Program(np.zeros(6), np.ones(6), (whole(6),), risk=risk)
    least = -solve(plain).objective
    conflict = check(replace(plain, risk_limits=(RiskLimit("budgeted", risk, share * least),)))
    assert set(conflict.limits) == {"budget", "budgeted"}


def test_tickets_against_a_count() -> None:
    switches = tuple(Switch(f"s{j}", np.eye(3)[j], ticket=0.4) for j in range(3))
    names = tuple(switch.name for switch in switches)
    program = Program(
        np.zeros(3),
        np.ones(3),
        (Limit("budget", np.ones(3), upper=1.0),),
        switches=switches,
        counts=(Count("all", names, at_least=3),),
    )
    assert solve(program).status == "infeasible"
    conflict = diagnose(program)
    assert conflict is not None
    assert set(conflict.limits) == {"budget", "s0", "s1", "s2", "all"}
    assert conflict.relaxation == {"budget": pytest.approx(0.2)}


def test_a_conflict_of_counts_alone_has_no_relaxation() -> None:
    program = Program(
        np.zeros(2), np.ones(2), switches=(Switch("s", np.ones(2)),), counts=(Count("two", ("s",), at_least=2),)
    )
    assert diagnose(program) == Conflict(("two",), {})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 6))
def test_random_conflicts_are_minimal(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    limits = [Limit(f"l{i}", rng.integers(-2, 3, n).astype(float), upper=float(rng.uniform(-1, 1))) for i in range(k)]
    limits += [Limit("all", np.ones(n), 1.0, 1.0)]
    program = Program(np.zeros(n), rng.uniform(0.1, 1.0, n), tuple(limits))
    if solve(program).status == "infeasible":
        check(program)
    else:
        assert diagnose(program) is None
