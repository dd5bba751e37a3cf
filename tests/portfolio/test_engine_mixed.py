"""Switches, tickets, counts and orders, against trying every combination."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from engine_programs import even, market, whole

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine import (
    Count,
    CVaR,
    Drawdown,
    Limit,
    Order,
    Program,
    Risk,
    RiskLimit,
    Settings,
    Switch,
    Variance,
    solve,
    solve_ratio,
)
from aegis_yield.portfolio.engine.switches import settle

N = 6
RETURNS = market(200, N, seed=3)
RISKS: dict[str, tuple[Risk | None, float]] = {
    "none": (None, 0.0),
    "cvar": (CVaR(RETURNS, even(200)), 0.05),
    "drawdown": (Drawdown(np.cumsum(RETURNS, axis=0)[None], np.ones(1), 0.8), 0.01),
    "variance": (Variance(np.cov(RETURNS.T)), 3.0),
}


def ticketed(kind: str, ticket: float = 0.15, cost: float = 3e-5) -> Program:
    risk, aversion = RISKS[kind]
    switches = tuple(Switch(f"s{j}", np.eye(N)[j], ticket=ticket, cost=cost * (1 + j)) for j in range(N))
    names = tuple(switch.name for switch in switches)
    return Program(
        RETURNS.mean(0),
        np.full(N, 0.6),
        (whole(N),),
        risk=risk,
        aversion=aversion,
        switches=switches,
        counts=(Count("positions", names, 2, 4),),
    )


def best_of_all(program: Program) -> float:
    """Return the best objective over every combination of the switches."""
    found = -np.inf
    for on in itertools.product((False, True), repeat=len(program.switches)):
        if 2 <= sum(on) <= 4:
            answer = solve(settle(program, np.array(on)))
            found = max(found, answer.objective) if answer.certified else found
    return found


@pytest.mark.parametrize("kind", RISKS)
def test_the_search_finds_what_trying_everything_finds(kind: str) -> None:
    program = ticketed(kind)
    found = solve(program)
    assert (found.status, found.certified) == ("optimal", True)
    assert found.objective == pytest.approx(best_of_all(program), rel=1e-6)
    used = found.values > 0
    assert 2 <= used.sum() <= 4
    assert (found.values[used] >= 0.15 - 1e-9).all()
    assert [found.open[f"s{j}"] for j in range(N)] == used.tolist()
    paid = sum(switch.cost for switch in program.switches if found.open[switch.name])
    risk = program.aversion * program.risk.of(found.values) if program.risk else 0.0
    assert found.objective == pytest.approx(program.gain @ found.values - risk - paid, rel=1e-12)
    assert set(found.shadow_prices) == {"budget"}


def test_a_dear_switch_stays_closed() -> None:
    program = ticketed("none", ticket=0.0, cost=1.0)
    found = solve(replace(program, limits=(Limit("budget", np.ones(N), upper=1.0),), counts=()))
    assert found.objective == 0
    assert not any(found.open.values())


def test_a_budget_holds_in_the_search_too() -> None:
    risk = RISKS["cvar"][0]
    assert risk is not None
    program = replace(ticketed("none"), risk_limits=(RiskLimit("tail", risk, 0.033),))
    found = solve(program)
    assert found.certified
    assert risk.of(found.values) <= 0.033 * (1 + 1e-7)
    assert found.objective == pytest.approx(best_of_all(program), rel=1e-6)


def test_segments_of_a_curve_that_is_not_concave_are_filled_in_order() -> None:
    # gain 1 a unit up to 1, then 3 a unit up to 2: without the order the second segment would be used alone
    gain, upper = np.array([1.0, 3.0, 1.5]), np.array([1.0, 1.0, 10.0])
    plain = Program(gain, upper, (Limit("budget", np.ones(3), upper=1.5),), orders=(Order(0, 1),))
    # 1.5 in the third pays 2.25; in order 1 + 0.5 * 3 = 2.5; out of order it would be 3 + 0.75
    assert solve(plain).objective == pytest.approx(2.5)
    assert solve(replace(plain, orders=())).objective == pytest.approx(3.75)
    less = solve(replace(plain, limits=(Limit("budget", np.ones(3), upper=1.2),)))
    assert less.objective == pytest.approx(1.8)
    assert less.values == pytest.approx([0, 0, 1.2])


def test_a_switch_may_stand_for_a_position_held_before() -> None:
    # 100 held; selling all frees it at a cost of 1, keeping a rest below 40 is not allowed
    gain = np.array([-0.05, 0.02])  # column 0 sells, column 1 buys another
    program = Program(
        gain,
        np.array([100.0, 100.0]),
        (Limit("cash", np.array([-1.0, 1.0]), upper=70.0), Limit("buy", np.array([0.0, 1.0]), lower=75.0)),
        switches=(Switch("rest", np.array([-1.0, 0.0]), offset=100.0, ticket=40.0),),
    )
    found = solve(program)
    assert found.certified
    assert found.values[0] == pytest.approx(5.0 if found.open["rest"] else 100.0)
    assert found.open["rest"]
    forced = solve(replace(program, limits=(*program.limits, Limit("sell", np.array([1.0, 0.0]), lower=61.0))))
    assert forced.values[0] == pytest.approx(100.0)
    assert not forced.open["rest"]


def test_a_ratio_may_have_switches() -> None:
    program = replace(ticketed("cvar", cost=0.0))
    found = solve_ratio(program)
    assert found.status == "optimal"
    risk, best = program.risk, 0.0
    assert risk is not None
    for on in itertools.product((False, True), repeat=N):
        if 2 <= sum(on) <= 4:
            answer = solve_ratio(settle(program, np.array(on)))
            best = max(best, answer.objective) if answer.status == "optimal" else best
    assert found.objective == pytest.approx(best, rel=1e-6)


def test_tickets_that_cannot_be_met_are_infeasible() -> None:
    assert solve(ticketed("cvar", ticket=0.55)).status == "infeasible"


def test_time_that_is_up_is_said() -> None:
    found = solve(ticketed("cvar"), Settings(time_limit_s=0.0))
    assert (found.status, found.certified) == ("time_limit", False)


def test_switches_need_a_ceiling_and_counts_need_switches() -> None:
    free = Program(-np.ones(1), np.full(1, np.inf), switches=(Switch("s", np.ones(1)),))
    with pytest.raises(RequestError, match="finite ceiling"):
        solve(free)
    with pytest.raises(RequestError, match="names of switches"):
        solve(replace(free, switches=(Switch("s", np.ones(1), ceiling=1.0),), counts=(Count("c", ("t",)),)))
