"""What a problem refuses: each bad value by name, with what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_problems import FREE, candidate, draw_paths, draw_problem, steady

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.impact import PriceTaker
from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Objective, Paths, Problem, TradeCost

NAN, INF = math.nan, math.inf


def taker(name: str = "a", **more: Any) -> Any:
    return candidate(name, PriceTaker(0.05), more.pop("apy", 0.05), **more)


def problem(**more: Any) -> Problem:
    ones = (taker("a"), taker("b"))
    given: dict[str, Any] = {"candidates": ones, "holdings": Holdings(1e6), "scenarios": steady(ones), **more}
    return Problem(**given)


BAD: list[tuple[str, Callable[[], object], str, str]] = [
    ("capital", lambda: Holdings(NAN), "capital_usd", "above 0"),
    ("capital", lambda: Holdings(-1.0), "capital_usd", "above 0"),
    ("capital", lambda: Holdings(0.0), "capital_usd", "above 0"),
    ("capital", lambda: Holdings(INF), "capital_usd", "below 1e+12"),
    ("position", lambda: Holdings(1.0, {"a": NAN}), "position of a", "at least 0"),
    ("position", lambda: Holdings(1.0, {"a": -0.1}), "position of a", "at least 0"),
    (
        "positions beyond capital",
        lambda: Holdings(100.0, {"a": 60.0, "b": 50.0}),
        "capital_usd",
        "sum of the positions",
    ),
    ("max_share", lambda: Limits(max_share=1.01), "max_share", "from 0 to 1"),
    ("max_share", lambda: Limits(max_share=NAN), "max_share", "from 0 to 1"),
    ("max_tvl_share", lambda: Limits(max_tvl_share=-0.1), "max_tvl_share", "from 0 to 1"),
    ("strategy_share", lambda: Limits(strategy_share={"a": 2.0}), "share of a", "from 0 to 1"),
    ("group", lambda: Limits(max_group_share={"chain": -1.0}), "max_chain_share", "from 0 to 1"),
    ("unknown group", lambda: Limits(max_group_share={"colour": 0.5}), "max_group_share", "protocol, chain, category"),
    ("instant", lambda: Limits(min_instant_share=1.5), "min_instant_share", "from 0 to 1"),
    ("invested", lambda: Limits(min_invested_share=NAN), "min_invested_share", "from 0 to 1"),
    ("tvl", lambda: Limits(min_tvl_usd=-1.0), "min_tvl_usd", "at least 0"),
    ("exit", lambda: Limits(max_exit_days=NAN), "max_exit_days", "at least 0"),
    ("ticket", lambda: Limits(min_ticket_usd=-1.0), "min_ticket_usd", "at least 0"),
    ("cvar", lambda: Limits(max_cvar=-0.1), "max_cvar", "from 0 to 2"),
    ("drawdown", lambda: Limits(max_drawdown=NAN), "max_drawdown", "from 0 to 2"),
    ("probability", lambda: Limits(max_loss_probability=1.1), "max_loss_probability", "from 0 to 1"),
    ("turnover", lambda: Limits(max_turnover=3.0), "max_turnover", "from 0 to 2"),
    ("count", lambda: Limits(max_positions=0), "max_positions", "whole number above 0"),
    ("count", lambda: Limits(max_positions=2.5), "max_positions", "whole number above 0"),  # type: ignore[arg-type]
    ("goal", lambda: Objective(goal="cvar"), "goal", "income, mean-cvar"),  # type: ignore[arg-type]
    ("aversion", lambda: Objective(risk_aversion=-0.1), "risk_aversion", "at least 0"),
    ("aversion", lambda: Objective(risk_aversion=NAN), "risk_aversion", "at least 0"),
    ("level", lambda: Objective(level=1.0), "level", "0.5 to below 1"),
    ("level", lambda: Objective(level=0.05), "level", "0.5 to below 1"),
    ("band", lambda: Objective(no_trade_apy=-0.1), "no_trade_apy", "from 0 to below 1"),
    ("risk free", lambda: Objective(risk_free_apy=NAN), "risk_free_apy", "above -0.5"),
    ("gas", lambda: TradeCost(gas_usd=NAN), "gas_usd", "at least 0"),
    ("entry", lambda: TradeCost(entry=-0.1), "entry", "from 0 to below 1"),
    ("exit cost", lambda: TradeCost(exit=1.0), "exit", "from 0 to below 1"),
    ("forecast", lambda: replace(taker(), apy=NAN), "apy of a", "above -1"),
    ("forecast", lambda: replace(taker(), apy=-1.0), "apy of a", "above -1"),
    ("lower end", lambda: taker(apy_low=NAN), "apy_low of a", "finite"),
    ("size", lambda: taker(tvl_usd=NAN), "tvl_usd of a", "at least 0"),
    ("liquidity", lambda: taker(instant_usd=-5.0), "instant_usd of a", "at least 0"),
    ("queue", lambda: taker(exit_days=INF), "exit_days of a", "finite"),
    ("nothing", lambda: problem(candidates=(), scenarios=steady(())), "candidates", "at least one"),
    (
        "order",
        lambda: problem(scenarios=steady((taker("b"), taker("a")))),
        "scenarios",
        "the candidates in their order",
    ),
    (
        "twice",
        lambda: problem(candidates=(taker(), taker()), scenarios=steady((taker(), taker()))),
        "candidates",
        "each strategy once",
    ),
    ("no horizon", lambda: problem(scenarios=steady((taker("a"), taker("b")), 0)), "horizon_days", "above 0"),
    ("held unknown", lambda: problem(holdings=Holdings(1e6, {"z": 1.0})), "strategies", "such as a, b"),
    ("limit of unknown", lambda: problem(limits=Limits(strategy_share={"z": 0.1})), "strategies", "such as a, b"),
    ("only unknown", lambda: problem(limits=Limits(only=("z",))), "strategies", "such as a, b"),
    ("never unknown", lambda: problem(limits=Limits(never=("z",))), "strategies", "such as a, b"),
    ("no paths", lambda: problem(limits=Limits(max_drawdown=0.1)), "max_drawdown", "only with paths"),
    ("paths of others", lambda: problem(paths=draw_paths(0, 3)), "paths", "each of the 2 candidates"),
    ("NAV", lambda: Paths(np.full((2, 3, 1), NAN), np.full(2, 0.5)), "nav", "finite"),
    ("NAV", lambda: Paths(np.ones((2, 3)), np.full(2, 0.5)), "nav", "(paths, days + 1, candidates)"),
    ("paths' mass", lambda: Paths(np.ones((2, 3, 1)), np.full(2, 0.6)), "probability", "sum to 1"),
]


@pytest.mark.parametrize(("build", "name", "allowed"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_bad_values_are_named_with_what_is_allowed(build: Callable[[], object], name: str, allowed: str) -> None:
    with pytest.raises(RequestError) as caught:
        build()
    assert caught.value.name == name
    assert allowed in caught.value.allowed
    assert str(caught.value).startswith(f"{name}: received ")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Holdings(100.0, {"a": 100.0}),
        lambda: Limits(max_share=1.0, max_tvl_share=0.0, min_invested_share=1.0, max_turnover=2.0, max_positions=1),
        lambda: Limits(max_exit_days=0.0, max_cvar=0.0, max_loss_probability=0.0),
        lambda: Objective(risk_aversion=0.0, level=0.5, no_trade_apy=0.0),
        lambda: replace(taker(apy_low=-0.5), apy=-0.2),
        lambda: taker(tvl_usd=0.0, instant_usd=0.0, exit_days=0.0),
        lambda: [Objective(goal=goal) for goal in Goal],
        lambda: problem(limits=replace(FREE, only=("a",), never=("b",)), paths=draw_paths(0, 2)),
    ],
)
def test_the_ends_of_what_is_allowed_are_allowed(build: Callable[[], object]) -> None:
    build()


def test_the_horizon_is_in_years_of_365_days() -> None:
    assert problem().years == 30 / 365
    assert draw_problem(0).candidates[0].strategy_id == "s0"
