"""The search over switches against scipy's mixed-integer solver, and risks by exposures against risks by columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_programs import even, market
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine import (
    Count,
    CVaR,
    Drawdown,
    Limit,
    Order,
    Program,
    RiskLimit,
    Settings,
    Switch,
    solve,
    solve_ratio,
)
from aegis_yield.portfolio.engine.verify import size_of
from aegis_yield.utils.typing import FloatArray

SEGMENTS = 3
SCENARIOS = 40


def fixed_charges(seed: int, n: int, at_most: int | None = None, rising: bool = False) -> Program:
    """Return n positions of three segments each, a charge for each that is used, one budget and a tail."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.03, 0.06, n)
    slopes = np.array([1.0, 0.9, 0.75]) if not rising else np.array([1.0, 0.7, 0.9])
    gain = (first[:, None] * slopes).ravel()
    owner = np.repeat(np.arange(n), SEGMENTS)
    moves = market(SCENARIOS, n, seed)[:, owner]
    switches = tuple(
        Switch(f"s{i}", (owner == i).astype(float), ticket=0.03, cost=float(rng.uniform(2e-4, 2e-3))) for i in range(n)
    )
    counts = () if at_most is None else (Count("most", tuple(x.name for x in switches), 0, at_most),)
    orders = tuple(Order(SEGMENTS * i + 1, SEGMENTS * i + 2) for i in range(n)) if rising else ()
    return Program(
        gain,
        np.tile([0.05, 0.1, 0.2], n),
        (Limit("budget", np.ones(len(gain)), upper=1.0),),
        risk=CVaR(moves + gain, even(SCENARIOS), 0.9),
        aversion=0.3,
        switches=switches,
        counts=counts,
        orders=orders,
    )


def peer_objective(program: Program) -> float:
    """Return the optimum by one mixed-integer program with every scenario in it, as a textbook writes it."""
    risk, m, n_on = program.risk, program.n_columns, len(program.switches) + len(program.orders)
    assert isinstance(risk, CVaR)
    s = len(risk.returns)
    width = m + 1 + s + n_on  # columns, level, losses above it, switches
    cost = np.concatenate(
        [
            -program.gain,
            program.aversion * np.concatenate([[1.0], risk.weight]),
            [switch.cost for switch in program.switches],
            np.zeros(len(program.orders)),
        ]
    )
    tail = sparse.hstack([risk.returns, np.ones((s, 1)), sparse.eye_array(s), sparse.csr_array((s, n_on))])
    constraints = [LinearConstraint(tail, 0.0, np.inf)]

    def add(columns: FloatArray, on: FloatArray, low: float, high: float) -> None:
        constraints.append(LinearConstraint(np.concatenate([columns, np.zeros(1 + s), on])[None], low, high))

    for limit in program.limits:
        add(limit.coefficients, np.zeros(n_on), limit.lower, limit.upper)
    for place, switch in enumerate(program.switches):
        mine = np.eye(1, n_on, place)[0]
        add(switch.coefficients, -switch.ticket * mine, 0.0, np.inf)
        add(switch.coefficients, -float(switch.coefficients @ program.upper) * mine, -np.inf, 0.0)
    for place, order in enumerate(program.orders, start=len(program.switches)):
        mine = np.eye(1, n_on, place)[0]
        add(np.eye(1, m, order.before)[0], -program.upper[order.before] * mine, 0.0, np.inf)
        add(np.eye(1, m, order.after)[0], -program.upper[order.after] * mine, -np.inf, 0.0)
    for count in program.counts:
        on = np.array(
            [float(switch.name in count.switches) for switch in program.switches] + [0.0] * len(program.orders)
        )
        add(np.zeros(m), on, count.at_least, np.inf if count.at_most is None else count.at_most)
    bounds = Bounds(
        np.concatenate([np.zeros(m), [-np.inf], np.zeros(s + n_on)]),
        np.concatenate([program.upper, [np.inf], np.full(s, np.inf), np.ones(n_on)]),
    )
    integrality = (np.arange(width) >= width - n_on).astype(int)
    found = milp(cost, constraints=constraints, bounds=bounds, integrality=integrality, options={"mip_rel_gap": 1e-9})
    assert found.status == 0
    return program.constant - float(found.fun)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("at_most", "rising"), [(None, False), (4, False), (None, True)])
def test_the_tree_finds_what_a_peer_finds(seed: int, at_most: int | None, rising: bool) -> None:
    program = fixed_charges(seed, 10, at_most, rising)
    found = solve(program)
    assert (found.status, found.certified) == ("optimal", True)
    assert found.objective == pytest.approx(peer_objective(program), rel=2e-6)
    assert 0 < sum(found.open.values()) < 10


@pytest.mark.parametrize("seconds", [0.02, 0.1])
def test_what_is_left_open_when_time_is_up_is_no_less_than_what_is_lost(seconds: float) -> None:
    program = fixed_charges(7, 24)
    best = solve(program)
    assert best.certified
    hurried = solve(program, Settings(time_limit_s=seconds))
    if np.isfinite(hurried.objective):
        proven = hurried.objective + hurried.gap * size_of(program, hurried.values)
        assert hurried.objective <= best.objective * (1 + 1e-6)
        assert proven >= best.objective * (1 - 1e-6)
        assert hurried.certified == (hurried.gap <= 1e-6)
    else:
        assert hurried.status == "time_limit"


def exposed(program: Program) -> Program:
    """Return a program whose risk is over two exposures a position instead of a column a segment."""
    rng = np.random.default_rng(0)
    n = program.n_columns // SEGMENTS
    factors = rng.normal(0.001, 0.02, (SCENARIOS, 2 * n))
    owner, multiple = np.repeat(np.arange(n), SEGMENTS), np.tile([1.0, 0.9, 0.75], n)
    at = np.arange(program.n_columns)
    loading = sparse.coo_array(
        (np.concatenate([np.ones(len(at)), multiple]), (np.concatenate([owner, owner + n]), np.tile(at, 2))),
        shape=(2 * n, len(at)),
    )
    return replace(program, risk=CVaR(factors, even(SCENARIOS), 0.9, sparse.csr_array(loading)))


def by_columns(program: Program) -> Program:
    """Return the same program with the risk's returns multiplied out."""
    risk = program.risk
    assert isinstance(risk, CVaR)
    assert risk.exposure is not None
    return replace(program, risk=CVaR(risk.returns @ risk.exposure.toarray(), risk.probability, risk.level))


@pytest.mark.parametrize("seed", range(5))
def test_exposures_are_the_same_risk_as_their_columns(seed: int) -> None:
    program = exposed(fixed_charges(seed, 8))
    convex = replace(program, switches=(), constant=0.1)
    for one in (program, convex, replace(convex, risk_limits=(RiskLimit("tail", program.risk, 0.004),))):
        mine, other = solve(one), solve(by_columns(one))
        assert mine.certified
        assert other.certified
        assert mine.objective == pytest.approx(other.objective, rel=1e-6)
        assert mine.shadow_prices["budget"] == pytest.approx(other.shadow_prices["budget"], abs=1e-4)
    mine, other = solve_ratio(convex), solve_ratio(by_columns(convex))
    assert mine.objective == pytest.approx(other.objective, rel=1e-6)


def test_a_drawdown_may_be_of_exposures() -> None:
    gains = np.cumsum(market(60, 3, 2), axis=0)[None]
    loading = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    by_exposure = Drawdown(gains, np.ones(1), 0.8, exposure=sparse.csr_array(loading))
    plain = Drawdown(gains @ loading, np.ones(1), 0.8)
    values = np.array([0.1, 0.2, 0.3, 0.4])
    assert by_exposure.of(values) == pytest.approx(plain.of(values), rel=1e-12)
    program = Program(np.array([0.02, 0.019, 0.015, 0.01]), np.full(4, 0.4), (Limit("all", np.ones(4), 1.0, 1.0),))
    mine, other = (solve(replace(program, risk=risk, aversion=0.2)) for risk in (by_exposure, plain))
    assert mine.certified
    assert mine.objective == pytest.approx(other.objective, rel=1e-6)


def test_exposures_must_fit_their_outcomes() -> None:
    with pytest.raises(RequestError, match="rows, one for each exposure"):
        CVaR(np.ones((4, 3)), even(4), 0.5, sparse.csr_array(np.ones((2, 5))))
