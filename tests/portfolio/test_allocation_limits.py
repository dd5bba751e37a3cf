"""Every limit is kept, whatever else is asked; limits that contradict are named, and the remedy named works."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_problems import (
    CAPITAL_USD,
    FREE,
    Make,
    candidate,
    draw_limits,
    draw_paths,
    draw_problem,
    excesses_of,
    income_problem,
    objectives_of,
    profits_of,
    with_goal,
    with_limits,
)

from aegis_yield.domain.errors import InfeasibleError, RequestError
from aegis_yield.portfolio.allocate import allocate
from aegis_yield.portfolio.impact import PriceTaker, ProRata
from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Problem, TradeCost

TOLERANCE = 1e-6
"""Of capital, days or a probability."""


def drawn(seed: int) -> Problem:
    goal = list(Goal)[seed % 5]
    make = Make(n=3 + seed % 2, scenarios=20, costs=seed % 12 == 2, held=seed % 3 > 0, concave=seed % 7 > 0)
    problem = replace(with_goal(draw_problem(seed, make), goal), paths=draw_paths(seed, make.n))
    return replace(problem, limits=draw_limits(seed, problem))


def test_random_limits_are_kept_by_every_goal() -> None:
    tight, refused, solved = Counter[str](), 0, 0
    for seed in range(125):
        problem = drawn(seed)
        try:
            found = allocate(problem)
        except InfeasibleError:
            refused += 1
            continue
        excess = {name: float(value[0]) for name, value in excesses_of(problem, found.positions_usd[None]).items()}
        assert max(excess.values()) <= TOLERANCE, (seed, {k: v for k, v in excess.items() if v > TOLERANCE})
        assert (found.positions_usd >= 0.0).all()
        solved += 1
        tight.update(name.partition(" ")[0] for name, value in excess.items() if value > -TOLERANCE)
    assert solved > 100
    assert 0 < refused < 25
    # Limits that never bind prove nothing. (What keeps a probability of loss is stricter than that, and binds earlier.)
    bound = ("capital", "share", "max_tvl_share", "min_invested_share", "min_instant_share", "max_exit_days")
    risks = ("max_cvar", "max_drawdown")
    for name in (*bound, *risks, "max_positions", "max_turnover", "max_chain_share", "max_issuer_share"):
        assert tight[name] > 0, name


@pytest.mark.parametrize("goal", list(Goal))
def test_a_budget_for_cvar_counts_costs_and_idle_cash(goal: Goal) -> None:
    """Regression: costs were left out of the tail, and the budget was exceeded by them."""
    problem = draw_problem(5, Make(n=3, scenarios=30))
    ones = tuple(replace(one, cost=TradeCost(0.0, entry=0.001)) for one in problem.candidates)
    problem = with_goal(replace(problem, candidates=ones), goal)
    problem = with_limits(problem, max_cvar=0.006, min_invested_share=0.1)
    found = allocate(problem)
    assert found.outcome.cvar <= 0.006 + 1e-9
    assert found.outcome.cvar > 0.0059 or goal != Goal.INCOME
    earning = replace(problem, objective=replace(problem.objective, risk_free_apy=0.05))
    assert allocate(earning).outcome.cvar <= 0.006 + 1e-9


@pytest.mark.parametrize("chance", [0.0, 0.0005, 0.002, 0.004])
def test_a_significant_loss_is_no_likelier_than_allowed(chance: float) -> None:
    invested = []
    for seed in range(4):
        problem = with_limits(draw_problem(seed, Make(n=4, scenarios=30)), max_loss_probability=chance)
        found = allocate(problem)
        losses = -profits_of(problem, found.positions_usd[None])[0] / CAPITAL_USD
        assert problem.scenarios.probability[losses > 0.01].sum() <= chance + 1e-9
        assert found.outcome.loss_probability <= chance + 1e-9
        invested.append(float(found.positions_usd.sum()))
    assert max(invested) > 0.0


def test_a_certain_loss_may_be_allowed() -> None:
    problem = draw_problem(0, Make(n=3))
    free, certain = allocate(problem), allocate(with_limits(problem, max_loss_probability=1.0))
    np.testing.assert_allclose(certain.positions_usd, free.positions_usd)


def test_a_position_is_nothing_or_a_ticket() -> None:
    ones = tuple(candidate(f"p{i}", ProRata(3e6, 0.08), 0.08) for i in range(5))
    problem, seen = income_problem(ones, 1e6), set()
    for ticket in (0.0, 1e5, 2.5e5, 4e5, 9e5):
        positions = allocate(with_limits(problem, min_ticket_usd=ticket)).positions_usd
        inside = positions[positions > 0]
        assert (inside >= ticket * (1 - 1e-9)).all()
        seen.add(len(inside))
    assert len(seen) >= 3


def test_a_ticket_that_nothing_has_room_for_leaves_cash_and_says_why() -> None:
    """Regression: the least size was lowered to the largest."""
    problem = with_limits(draw_problem(0, Make(n=3)), max_share=0.2, min_ticket_usd=3e5)
    found = allocate(problem)
    np.testing.assert_array_equal(found.positions_usd, 0.0)
    assert found.excluded[0] == "has room for 200,000 USD, a position must be at least 300,000"


def test_what_is_held_and_too_small_is_sold_or_topped_up() -> None:
    ones = (candidate("a", PriceTaker(0.05), 0.05), candidate("b", PriceTaker(0.05), 0.05))
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"a": 1_000.0, "b": 9.99e5}))
    positions = allocate(with_limits(problem, min_ticket_usd=1e4)).positions_usd
    assert positions[0] == 0.0 or positions[0] >= 1e4


def test_what_is_held_and_no_longer_allowed_is_sold() -> None:
    problem = draw_problem(2, Make(n=4, costs=True, held=True))
    held = set(problem.holdings.positions_usd)
    for limits in ({"never": tuple(held)}, {"only": tuple({"s0", "s1", "s2", "s3"} - held)}):
        found = allocate(with_limits(problem, **limits))
        for index, one in enumerate(problem.candidates):
            if one.strategy_id in held:
                assert found.positions_usd[index] == 0.0
                assert "list of those" in found.excluded[index]


def test_more_held_than_allowed_is_brought_down() -> None:
    ones = (
        candidate("a", PriceTaker(0.09), 0.09, cost=TradeCost(5.0, 0.0, 0.01)),
        candidate("b", PriceTaker(0.02), 0.02),
    )
    problem = replace(income_problem(ones, 1e6), holdings=Holdings(1e6, {"a": 9e5}))
    found = allocate(with_limits(problem, max_share=0.5))
    assert found.positions_usd[0] == pytest.approx(5e5)
    shrunk = replace(problem, candidates=(replace(ones[0], tvl_usd=2.9e6), ones[1]))
    found = allocate(with_limits(shrunk, max_tvl_share=0.2))
    assert found.positions_usd[0] == pytest.approx(0.25 * 2e6)  # a fifth of the pool with 2,000,000 of others in it


def test_a_pool_of_unknown_size_is_left_out_where_size_matters() -> None:
    ones = (candidate("a", PriceTaker(0.09), 0.09), candidate("b", PriceTaker(0.02), 0.02, tvl_usd=1e9))
    problem = income_problem(ones, 1e6)
    found = allocate(with_limits(problem, min_tvl_usd=1e6, max_tvl_share=0.1))
    np.testing.assert_allclose(found.positions_usd, [0.0, 1e6])
    assert found.excluded == {0: "its size is unknown, at least 1,000,000 USD is asked for"}
    np.testing.assert_allclose(allocate(with_limits(problem, max_tvl_share=0.1)).positions_usd, [1e6, 0.0])


def test_a_pool_of_two_issuers_counts_for_both() -> None:
    ones = tuple(
        candidate(name, PriceTaker(0.05), apy, groups={"issuer": issuer})
        for name, apy, issuer in (("a", 0.10, "circle+tether"), ("b", 0.06, "circle"), ("c", 0.03, "tether"))
    )
    found = allocate(with_limits(income_problem(ones, 1e6), max_group_share={"issuer": 0.4}))
    np.testing.assert_allclose(found.positions_usd, [4e5, 0.0, 0.0])


def test_what_is_paid_out_at_once_is_counted_to_the_dollar() -> None:
    ones = (
        candidate("a", PriceTaker(0.09), 0.09, instant_usd=123_456.0),
        candidate("b", PriceTaker(0.08), 0.08, exit_days=7.0),
        candidate("c", PriceTaker(0.01), 0.01),
    )
    found = allocate(with_limits(income_problem(ones, 1e6), min_instant_share=0.7))
    np.testing.assert_allclose(found.positions_usd, [423_456.0, 0.0, 1e6 - 423_456.0])


def test_a_ratio_is_as_much_invested_as_gas_and_limits_allow() -> None:
    """Regression: all was to be invested, the gas too."""
    problem = draw_problem(1, Make(n=3, scenarios=30))
    ones = tuple(candidate(f"s{i}", ProRata(1e6, 0.1), 0.1, cost=TradeCost(40.0)) for i in range(3))
    problem = replace(problem, candidates=ones)
    problem = replace(with_goal(problem, Goal.RATIO), holdings=Holdings(12_000.0), limits=FREE)
    found = allocate(problem)
    assert found.positions_usd.sum() + found.outcome.cost_usd <= 12_000.0 + 0.01
    assert found.certificate.status == "nothing_beats_cash" or found.positions_usd.sum() > 0.98 * 12_000.0


def test_gas_that_cannot_be_paid_beside_what_must_be_invested() -> None:
    ones = tuple(candidate(name, PriceTaker(0.05), 0.05, cost=TradeCost(30.0)) for name in "ab")
    problem = income_problem(ones, 1_000.0)
    found = allocate(with_limits(problem, min_invested_share=0.96, max_share=1.0))
    assert found.positions_usd.sum() == pytest.approx(970.0)  # one position's gas fits, two would not
    with pytest.raises(InfeasibleError) as caught:
        allocate(with_limits(problem, min_invested_share=0.96, max_share=0.6))
    assert "min_invested_share" in caught.value.limits


CONFLICTS: list[tuple[str, Make, dict[str, Any], set[str]]] = [
    ("room", Make(n=4), {"max_share": 0.2, "min_invested_share": 0.9}, {"max_share", "min_invested_share"}),
    ("group", Make(n=4), {"max_group_share": {"chain": 0.3}, "min_invested_share": 0.9}, {"min_invested_share"}),
    ("tail", Make(n=4), {"max_cvar": 0.0, "min_invested_share": 0.9}, {"max_cvar", "min_invested_share"}),
    (
        "loss",
        Make(n=4),
        {"max_loss_probability": 0.0, "min_invested_share": 0.9},
        {"max_loss_probability", "min_invested_share"},
    ),
    ("drawdown", Make(n=4), {"max_drawdown": 0.001, "min_invested_share": 0.9}, {"max_drawdown", "min_invested_share"}),
    (
        "count",
        Make(n=4),
        {"max_positions": 1, "max_share": 0.3, "min_invested_share": 0.5},
        {"max_positions", "max_share", "min_invested_share"},
    ),
    (
        "ticket",
        Make(n=4, held=True),
        {"min_ticket_usd": 4e5, "max_share": 0.45, "min_invested_share": 0.95},
        {"min_ticket_usd", "max_share", "min_invested_share", "capital"},
    ),
    ("forced sale", Make(n=4, held=True), {"max_turnover": 0.01, "never": ("s0", "s1", "s2")}, {"max_turnover"}),
    (
        "above a kink",
        Make(n=4, costs=True, held=True, concave=False),
        {"max_share": 0.2, "min_invested_share": 0.9},
        {"max_share", "min_invested_share"},
    ),
]


@pytest.mark.parametrize(("make", "limits", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CONFLICTS])
def test_a_contradiction_is_named_and_its_remedy_works(make: Make, limits: dict[str, Any], expected: set[str]) -> None:
    problem = replace(draw_problem(1, make), paths=draw_paths(1, 4))
    problem = with_limits(problem, **limits)
    with pytest.raises(InfeasibleError) as caught:
        allocate(problem)
    error = caught.value
    assert expected <= set(error.limits)
    assert error.relaxation
    for name in error.limits:
        if name != "capital":
            allocate(without(problem, name))  # the rest can be met
    allocate(relaxed(problem, dict(error.relaxation)))
    with pytest.raises(InfeasibleError):
        allocate(relaxed(problem, {name: 0.95 * amount for name, amount in error.relaxation}))
    assert all(name in str(error) for name in error.limits)


def without(problem: Problem, name: str) -> Problem:
    """Return the problem with one limit less."""
    kind, _, group = name.removeprefix("max_").partition("_share of ")
    if group:
        rest = {other: share for other, share in problem.limits.max_group_share.items() if other != kind}
        return with_limits(problem, max_group_share=rest)
    default = {"max_share": 1.0, "capacity": 1.0}.get(name, getattr(Limits(), name, None))
    return with_limits(problem, **{name: default})


def relaxed(problem: Problem, amounts: dict[str, float]) -> Problem:
    """Return the problem with limits given way by amounts and a hair more."""
    changed: dict[str, Any] = {}
    for name, amount in amounts.items():
        wider = amount * (1 + 1e-6) + 1e-9
        group = re.fullmatch(r"max_(\w+)_share of .+", name)
        if group:
            share = problem.limits.max_group_share[group[1]]
            changed["max_group_share"] = {**problem.limits.max_group_share, group[1]: min(1.0, share + wider)}
        else:
            sign = -1.0 if name.startswith("min_") else 1.0
            changed[name] = max(0.0, getattr(problem.limits, name) + sign * wider)
    return with_limits(problem, **changed)


def test_random_contradictions_are_named_and_their_remedies_work() -> None:
    checked = 0
    for seed in range(400, 450):
        problem = replace(draw_problem(seed, Make(n=3, scenarios=20, held=True)), paths=draw_paths(seed, 3))
        problem = replace(problem, limits=draw_limits(seed, problem))
        problem = with_limits(problem, min_invested_share=0.8, max_turnover=0.4)
        error = refusal(problem)
        if isinstance(error, InfeasibleError):
            checked += 1
            assert error.limits
            assert error.relaxation
            wider = relaxed(problem, dict(error.relaxation))
            positions = allocate(wider).positions_usd
            assert max(float(x[0]) for x in excesses_of(wider, positions[None]).values()) < TOLERANCE, seed
        elif isinstance(error, RequestError):
            assert error.name == "min_invested_share"  # nothing may be used at all
    assert checked > 15


def refusal(problem: Problem) -> Exception | None:
    try:
        allocate(problem)
    except (InfeasibleError, RequestError) as error:
        return error
    return None


def test_nothing_to_invest_in_though_something_must_be() -> None:
    problem = with_limits(draw_problem(0, Make(n=2)), never=("s0", "s1"), min_invested_share=0.1)
    with pytest.raises(RequestError) as caught:
        allocate(problem)
    assert caught.value.name == "min_invested_share"


def test_limits_of_a_mean_variance_portfolio_with_many_positions_are_kept() -> None:
    problem = with_goal(draw_problem(11, Make(n=12, scenarios=60)), Goal.MEAN_VARIANCE)
    problem = replace(problem, objective=replace(problem.objective, risk_aversion=50.0))
    problem = with_limits(problem, max_share=0.15, max_group_share={"chain": 0.5}, max_exit_days=2.0)
    found = allocate(problem)
    assert found.certificate.certified
    assert max(float(x[0]) for x in excesses_of(problem, found.positions_usd[None]).values()) < TOLERANCE
    assert float(objectives_of(problem, found.positions_usd[None])[0]) > 0.0
