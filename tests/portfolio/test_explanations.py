"""What an allocation says of itself is true: reasons, prices, slack, trades, days until a trade has paid for itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_problems import (
    CAPITAL_USD,
    FREE,
    Make,
    candidate,
    draw_paths,
    draw_problem,
    excesses_of,
    held_of,
    income_problem,
    objectives_of,
    steady,
    with_goal,
    with_limits,
)

from aegis_yield.portfolio.allocate import Allocation, allocate, cutoff
from aegis_yield.portfolio.explain import LimitState, Verdict, cutoff_apy, limit_states, trades, verdicts
from aegis_yield.portfolio.impact import PriceTaker, ProRata
from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Problem, TradeCost

YEARS = 30 / 365


def value(problem: Problem) -> float:
    return float(objectives_of(problem, allocate(problem).positions_usd[None])[0])


def by_name(found: Allocation) -> dict[str, Verdict]:
    return {row.strategy_id: row for row in verdicts(found)}


def state(found: Allocation, name: str) -> LimitState:
    return next(one for one in limit_states(found) if one.name == name)


def takers(*apys: float, **more: Any) -> tuple[Any, ...]:
    return tuple(candidate(f"p{i}", PriceTaker(0.05), apy, **more) for i, apy in enumerate(apys))


def test_every_candidate_has_its_place_and_a_reason() -> None:
    for seed in range(6):
        problem = draw_problem(seed, Make(n=5, scenarios=20, costs=seed % 2 == 0, held=True, concave=seed != 1))
        problem = with_limits(problem, max_share=0.4, never=("s4",), max_group_share={"chain": 0.6})
        found = allocate(problem)
        rows = verdicts(found)
        assert sorted(row.strategy_id for row in rows) == [f"s{i}" for i in range(5)]
        assert all(row.why for row in rows)
        amounts = [row.amount_usd for row in rows]
        assert amounts == sorted(amounts, reverse=True)
        assert sum(amounts) == pytest.approx(float(found.positions_usd.sum()))
        for row in rows:
            index = int(row.strategy_id[1:])
            assert row.share == row.amount_usd / CAPITAL_USD
            assert row.before_usd == held_of(problem)[index]
            assert row.apy == problem.candidates[index].apy
            deposit = np.array([row.amount_usd - row.before_usd])
            simple = float(problem.candidates[index].curve.rate(deposit)[0])
            assert row.apy_after == pytest.approx((1 + simple * YEARS) ** (1 / YEARS) - 1)
        assert np.isnan(by_name(found)["s4"].marginal_apy)


def test_at_a_cap_more_room_would_pay() -> None:
    ones = (
        candidate("share", PriceTaker(0.05), 0.09),
        candidate("own", PriceTaker(0.05), 0.09),
        candidate("pool", PriceTaker(0.05), 0.09, tvl_usd=900_000.0),
        candidate("full", PriceTaker(0.05, 50_000.0), 0.09),
        candidate("rest", PriceTaker(0.05), 0.02),
    )
    limits = Limits(max_share=0.2, max_tvl_share=0.1, strategy_share={"own": 0.1, "rest": 1.0})
    problem = income_problem(ones, 1e6, limits)
    found = allocate(problem)
    why = {name: row.why for name, row in by_name(found).items()}
    assert why["share"] == "at its cap: 20 % of capital"
    assert why["own"] == "at its cap: 10 % of capital"
    assert why["pool"] == "at its cap: 10 % of the pool"
    assert why["full"] == "at its cap: the pool takes no more"
    assert why["rest"] == "up to the point where its next dollar earns what it would elsewhere"
    gap = (1.09**YEARS - 1.02**YEARS) / YEARS
    for name in ("share", "own", "pool", "full"):
        assert by_name(found)[name].marginal_apy == pytest.approx(gap), name
    before = value(problem)
    assert value(with_limits(problem, max_share=0.21)) > before + 1
    assert value(with_limits(problem, strategy_share={"own": 0.11, "rest": 1.0})) > before + 1
    assert value(with_limits(problem, max_tvl_share=0.11)) > before + 1


def test_up_to_a_groups_limit_a_wider_one_would_pay() -> None:
    ones = (
        candidate("a", ProRata(3e6, 0.08), 0.08, groups={"chain": "x"}),
        candidate("b", ProRata(3e6, 0.08), 0.08, groups={"chain": "x"}),
        candidate("c", PriceTaker(0.05), 0.06, groups={"chain": "x"}),
        candidate("d", PriceTaker(0.05), 0.01, groups={"chain": "y"}),
    )
    problem = income_problem(ones, 1e6, replace(FREE, max_group_share={"chain": 0.3}))
    found = allocate(problem)
    rows = by_name(found)
    assert rows["a"].why == rows["b"].why == "up to the limit on chain x"
    assert rows["c"].why == "would pay, but others use the limit on chain x better"
    held = state(found, "max_chain_share of x")
    assert held.binds
    assert held.used == pytest.approx(0.3)
    wider = with_limits(problem, max_group_share={"chain": 0.9})
    assert value(wider) > value(problem) + 1
    assert by_name(allocate(wider))["c"].amount_usd > 0.0


def test_short_of_the_cut_off_by_what_it_says() -> None:
    pools = tuple(candidate(f"p{i}", ProRata(2e6, rate), rate, 365) for i, rate in enumerate((0.09, 0.08, 0.05)))
    problem = replace(income_problem(pools, 5e5), scenarios=steady(pools, 365))
    found = allocate(problem)
    why = by_name(found)["p2"].why
    said = re.fullmatch(r"its first dollar falls (\d+\.\d\d) % a year short of the cut-off, after risk and costs", why)
    assert said
    short = float(said[1]) / 100
    assert short == pytest.approx(-by_name(found)["p2"].marginal_apy, abs=5e-5)
    for lift, enters in ((short - 2e-4, False), (short + 5e-4, True)):
        better = (*pools[:2], candidate("p2", ProRata(2e6, 0.05 + lift), 0.05 + lift, 365))
        changed = allocate(replace(income_problem(better, 5e5), scenarios=steady(better, 365)))
        assert (changed.positions_usd[2] > 0) == enters


def test_without_its_gas_a_candidate_that_gas_keeps_out_enters() -> None:
    rates = (0.08, 0.0795, 0.079)
    pools = tuple(candidate(f"p{i}", ProRata(5e6, r), r, cost=TradeCost(20.0)) for i, r in enumerate(rates))
    problem = income_problem(pools, 1e5)
    found = allocate(problem)
    out = [row for row in verdicts(found) if row.amount_usd == 0.0]
    assert out
    for row in out:
        assert row.why == "what it would add over the horizon does not pay for 20.00 USD of gas"
        free = tuple(replace(p, cost=TradeCost()) if p.strategy_id == row.strategy_id else p for p in pools)
        entered = by_name(allocate(replace(problem, candidates=free)))[row.strategy_id]
        assert entered.amount_usd > 0.0


def test_a_ticket_or_a_number_of_positions_that_keeps_a_candidate_out_is_named() -> None:
    pools = tuple(candidate(f"p{i}", ProRata(2e6, r), r) for i, r in enumerate((0.09, 0.085, 0.08)))
    problem = income_problem(pools, 7e5)
    for limits, words in (
        ({"max_positions": 2}, "is less than what the 2 allowed positions bring"),
        ({"min_ticket_usd": 3e5}, "is not worth a position of at least 300,000 USD"),
    ):
        found = allocate(with_limits(problem, **limits))
        (out,) = (row for row in verdicts(found) if row.amount_usd == 0.0)
        assert out.why == f"what it would add over the horizon {words}"
        assert by_name(allocate(problem))[out.strategy_id].amount_usd > 0.0
        assert value(problem) > value(with_limits(problem, **limits))


def test_what_is_kept_is_kept_for_its_costs() -> None:
    ones = takers(0.05, 0.055, cost=TradeCost(0.0, 0.001, 0.001))
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"p0": 4e5, "p1": 6e5}))
    found = allocate(problem)
    assert by_name(found)["p0"].why == "kept: changing it would cost more than it brings"
    assert trades(found) == []
    free = replace(
        problem,
        candidates=tuple(replace(one, cost=TradeCost()) for one in ones),
        objective=replace(problem.objective, no_trade_apy=0.0),
    )
    assert allocate(free).positions_usd[0] == 0.0


def test_of_two_alike_one_may_be_left_out() -> None:
    found = allocate(income_problem(takers(0.05, 0.05), 1e6))
    reasons = {row.why for row in verdicts(found) if row.amount_usd == 0.0}
    assert reasons <= {"another at the cut-off was as good"}


def test_why_nobody_considered_it() -> None:
    ones = takers(0.05, 0.05, 0.05, 0.05, tvl_usd=1e6)
    problem = income_problem((*ones[:3], replace(ones[3], tvl_usd=None)), 1e6)
    found = allocate(with_limits(problem, never=("p0",), only=("p0", "p2", "p3"), min_tvl_usd=2e6))
    why = {name: row.why for name, row in by_name(found).items()}
    assert why == {
        "p0": "is on the list of those never to be used",
        "p1": "is not on the list of those that may be used",
        "p2": "holds 1,000,000 USD, at least 2,000,000 is asked for",
        "p3": "its size is unknown, at least 2,000,000 USD is asked for",
    }


def test_as_much_as_pays_for_its_risk() -> None:
    problem = draw_problem(2, Make(n=3, scenarios=40))
    ones = tuple(replace(one, curve=ProRata(1e6, 0.1)) for one in problem.candidates)
    problem = replace(problem, candidates=ones, objective=replace(problem.objective, risk_aversion=0.5))
    found = allocate(problem)
    rows = [row for row in verdicts(found) if row.amount_usd > 0.0]
    assert found.cash_usd > 1e3
    assert rows
    for row in rows:
        assert row.why == "as much as pays for its risk: more would lower its own rate or weigh on the tail"
        index, best = int(row.strategy_id[1:]), float(objectives_of(problem, found.positions_usd[None])[0])
        for step in (-2_000.0, 2_000.0):
            moved = found.positions_usd.copy()
            moved[index] += step
            assert float(objectives_of(problem, moved[None])[0]) < best


@pytest.mark.parametrize("goal", [Goal.INCOME, Goal.MEAN_CVAR, Goal.MEAN_VARIANCE])
@pytest.mark.parametrize("risk_free", [0.0, 0.02])
def test_the_cut_off_is_what_one_more_dollar_of_capital_adds(goal: Goal, risk_free: float) -> None:
    checked = 0
    for seed in range(6):
        problem = with_goal(draw_problem(seed, Make(n=4, scenarios=20)), goal)
        sized = tuple(replace(one, tvl_usd=2e6) for one in problem.candidates)
        objective = replace(problem.objective, risk_aversion=0.02, risk_free_apy=risk_free)
        problem = replace(problem, candidates=sized, objective=objective)
        problem = with_limits(
            problem, max_tvl_share=0.15
        )  # room for 1.4 million in all: caps in dollars, none in shares
        found, step = allocate(problem), 2_000.0
        more, less = (value(replace(problem, holdings=Holdings(CAPITAL_USD + x))) for x in (step, -step))
        here = float(objectives_of(problem, found.positions_usd[None])[0])
        # The optimum is concave in capital: its slope lies between the two differences, a chord's error apart.
        slack = 0.01 * (1e-9 + abs(cutoff(found))) + 2e-6
        assert (more - here) / step - slack <= cutoff(found) <= (here - less) / step + slack, seed
        assert cutoff_apy(found) == pytest.approx(cutoff(found) / YEARS)
        checked += cutoff(found) > 1e-4
    assert checked > 0


PRICED: list[tuple[str, dict[str, Any], float]] = [
    ("max_chain_share of c0", {"max_group_share": {"chain": 0.3}}, 1.0),
    ("max_exit_days", {"max_exit_days": 1.0}, 1.0),
    ("min_instant_share", {"min_instant_share": 0.7}, -1.0),
    ("max_turnover", {"max_turnover": 0.5}, 1.0),
    ("max_cvar", {"max_cvar": 0.004}, 1.0),
    ("min_invested_share", {"min_invested_share": 0.95}, -1.0),
    ("max_drawdown", {"max_drawdown": 0.004}, 1.0),
]


def widened(limits: dict[str, Any], amount: float) -> dict[str, Any]:
    ((name, bound),) = limits.items()
    return {
        name: {kind: share + amount for kind, share in bound.items()} if isinstance(bound, dict) else bound + amount
    }


@pytest.mark.parametrize(("name", "limits", "sign"), PRICED, ids=[name for name, *_ in PRICED])
def test_a_limits_price_is_what_a_wider_bound_would_pay(name: str, limits: dict[str, Any], sign: float) -> None:
    priced = 0
    for seed in range(8):
        problem = replace(draw_problem(seed, Make(n=4, scenarios=20)), paths=draw_paths(seed, 4))
        if name == "min_invested_share":
            problem = replace(problem, objective=replace(problem.objective, risk_aversion=0.5))
        limited = with_limits(problem, **limits)
        found = allocate(limited)
        if not any(one.name == name for one in limit_states(found)):
            continue
        held, step = state(found, name), 1e-3
        here = float(objectives_of(limited, found.positions_usd[None])[0])
        wider, tighter = (value(with_limits(problem, **widened(limits, sign * x))) for x in (step, -step))
        # A share of chains is a limit on each of them: all are widened.
        alike = [one for one in limit_states(found) if one.name.partition(" ")[0] == name.partition(" ")[0]]
        a_dollar = sum(one.price for one in alike) * YEARS * CAPITAL_USD * step
        slack = 0.02 * abs(a_dollar) + 0.2
        assert wider - here - slack <= a_dollar <= here - tighter + slack, seed
        assert held.binds == (held.price > 0.0 or held.used >= held.allowed - 1e-6)
        assert held.used <= held.allowed + 1e-6
        if wider > here + 1.0:
            assert any(one.binds for one in alike)
            priced += 1
        if not any(one.binds for one in alike):
            assert wider == pytest.approx(here, abs=0.2)
    assert priced > 0


def test_what_is_used_of_each_limit_is_recomputed() -> None:
    for seed in range(5):
        problem = replace(draw_problem(seed, Make(n=4, scenarios=20, held=True)), paths=draw_paths(seed, 4))
        limits = {"max_group_share": {"chain": 0.7, "issuer": 0.9}, "min_invested_share": 0.1, "min_instant_share": 0.3}
        more = {"max_exit_days": 4.0, "max_turnover": 1.5, "max_cvar": 0.05, "max_drawdown": 0.02}
        problem = with_limits(problem, **limits, **more, max_loss_probability=0.02)
        found = allocate(problem)
        excess = {name: float(x[0]) for name, x in excesses_of(problem, found.positions_usd[None]).items()}
        states = {one.name: one for one in limit_states(found)}
        groups = {f"max_chain_share of c{i}" for i in range(2)} | {f"max_issuer_share of i{i}" for i in range(3)}
        assert set(states) <= groups | {
            "capital",
            "min_invested_share",
            "min_instant_share",
            "max_loss_probability",
            *more,
        }
        for name, one in states.items():
            assert one.used - one.allowed == pytest.approx(excess[name], abs=1e-9), name
        assert [one.binds for one in limit_states(found)] == sorted(
            (one.binds for one in states.values()), reverse=True
        )


def test_trades_are_the_change_and_their_costs_the_cost() -> None:
    for seed in range(6):
        problem = draw_problem(seed, Make(n=5, scenarios=20, costs=True, held=True, concave=seed % 2 == 0))
        problem = with_limits(problem, never=(next(iter(problem.holdings.positions_usd)),))
        found = allocate(problem)
        moves = trades(found)
        moved = {move.strategy_id: move.amount_usd for move in moves}
        change = found.positions_usd - held_of(problem)
        for index, one in enumerate(problem.candidates):
            assert moved.get(one.strategy_id, 0.0) == pytest.approx(change[index])
        assert sum(move.cost_usd for move in moves) == pytest.approx(found.outcome.cost_usd)
        signs = [np.sign(move.amount_usd) for move in moves]
        assert signs == sorted(signs)
        sizes = [abs(move.amount_usd) for move in moves]
        out = signs.count(-1.0)
        assert sizes[:out] == sorted(sizes[:out], reverse=True)
        assert sizes[out:] == sorted(sizes[out:], reverse=True)


def test_a_deposit_has_paid_for_itself_after_so_many_days() -> None:
    ones = (
        candidate("a", ProRata(1e6, 0.08), 0.08, cost=TradeCost(20.0, 0.001, 0.0)),
        candidate("b", PriceTaker(0.05), 0.03, cost=TradeCost(5.0, 0.0, 0.002)),
    )
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"b": 9e5}))
    problem = replace(problem, objective=replace(problem.objective, risk_free_apy=0.01))
    found = allocate(with_limits(problem, max_share=0.5))
    out, into = trades(found)
    assert (out.strategy_id, into.strategy_id) == ("b", "a")
    assert out.break_even_days == 0.0
    amount = float(found.positions_usd[0])
    simple = (1.08**YEARS - 1) / YEARS * 1e6 / (1e6 + amount)
    assert into.cost_usd == pytest.approx(20.0 + 0.001 * amount)
    assert into.break_even_days == pytest.approx(into.cost_usd / (amount * (simple - 0.01) / 365))


def test_a_deposit_that_earns_less_than_cash_never_pays_for_itself() -> None:
    ones = takers(0.01, cost=TradeCost(1.0))
    problem = income_problem(ones, 1e6)
    problem = replace(problem, objective=replace(problem.objective, risk_free_apy=0.05))
    found = allocate(with_limits(problem, min_invested_share=0.2))
    assert trades(found)[0].break_even_days == np.inf
    assert by_name(found)["p0"].amount_usd == pytest.approx(2e5)


def test_prices_of_a_ratio_are_in_dollars_too() -> None:
    """Regression: they were those of the ratio, which is a number."""
    for seed in range(6):
        problem = with_goal(draw_problem(seed, Make(n=4, scenarios=20)), Goal.RATIO)
        found = allocate(with_limits(problem, max_share=0.3))
        if found.certificate.status != "optimal":
            continue
        after_risk = by_name(found)
        for index, row in enumerate(found.marginal):
            assert abs(row) < 0.2, index  # of a dollar over 30 days
        outs = [row for row in after_risk.values() if row.amount_usd == 0.0]
        assert all(row.why == "would lower the ratio of income to risk" for row in outs if row.marginal_apy < 0)
