"""Allocations from tables to trades: names, money that adds up, limits kept, refusals, and nothing from later days."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import market
from changed_tables import AAVE, COMPOUND, DELTA, LIDO, POOL, SUSDE, on_tables, scrambled_after, with_values

from aegis_yield.cli.risk import plain
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError, InfeasibleError, RequestError, UnknownStrategyError
from aegis_yield.pipelines.allocate import AllocationOrder, AllocationReport, allocate_with, optimize, to_json
from aegis_yield.pipelines.candidates import Workshop, made_from
from aegis_yield.pipelines.costs import load_habits
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.risk import outlook
from aegis_yield.portfolio.allocate import allocate
from aegis_yield.portfolio.problem import Holdings, Limits, Problem
from aegis_yield.portfolio.prudence import tempered
from aegis_yield.risk.scenarios import Draw

LAST = market().last_date
MILLION = Holdings(1e6)
FIVE = ("aave", "lido", "compound", "susde", POOL)
CALM = ("aave", "lido", "compound")
SPREAD = Limits(
    max_share=0.3,
    max_group_share={"protocol": 0.4, "chain": 0.6, "category": 0.5},
    max_tvl_share=0.05,
    max_exit_days=1.5,
    min_instant_share=0.3,
    min_ticket_usd=20_000.0,
    max_cvar=0.02,
    max_turnover=0.9,
)


def order(strategies: tuple[str, ...] | None = CALM, **more: Any) -> AllocationOrder:
    return AllocationOrder(**{"holdings": MILLION, "strategies": strategies, "n_scenarios": 120, **more})


@pytest.fixture(scope="module")
def whole(forecaster: Forecaster) -> AllocationReport:
    """All twelve strategies, some held already, under many limits."""
    held = Holdings(1e6, {"aave": 2e5, "lido": 1e5})
    return allocate_with(forecaster, order(None, holdings=held, limits=SPREAD))


@pytest.fixture(scope="module")
def calm(forecaster: Forecaster) -> AllocationReport:
    return allocate_with(forecaster, order())


def positions(report: AllocationReport) -> dict[str, float]:
    return {row.strategy_id: row.amount_usd for row in report.verdicts if row.amount_usd > 0}


def same(found: AllocationReport, expected: AllocationReport, rel: float = 1e-4) -> bool:
    return positions(found) == pytest.approx(positions(expected), rel=rel) and bool(positions(expected))


def test_money_adds_up(whole: AllocationReport) -> None:
    before, costs = whole.allocation.problem.holdings.positions_usd, load_habits(market().market)
    amounts = {row.strategy_id: row.amount_usd for row in whole.verdicts}
    assert len(amounts) == 12
    moved = {trade.strategy_id: trade.amount_usd for trade in whole.trades}
    for name, amount in amounts.items():
        assert before.get(name, 0.0) + moved.get(name, 0.0) == pytest.approx(amount, abs=1e-6)
    chains = dict(market().strategies.select("strategy_id", "chain").iter_rows())
    categories = dict(market().strategies.select("strategy_id", "category").iter_rows())
    for trade in whole.trades:
        cost = costs.cost(trade.strategy_id, categories[trade.strategy_id], chains[trade.strategy_id])
        assert trade.cost_usd == pytest.approx(cost.gas_usd + cost.entry * abs(trade.amount_usd))
    spent = sum(trade.cost_usd for trade in whole.trades)
    assert whole.allocation.outcome.cost_usd == pytest.approx(spent)
    assert sum(amounts.values()) + whole.allocation.cash_usd + spent == pytest.approx(1e6, abs=0.01)
    assert all(row.share == pytest.approx(row.amount_usd / 1e6) for row in whole.verdicts)


def test_present_positions_are_counted(whole: AllocationReport) -> None:
    before = {row.strategy_id: row.before_usd for row in whole.verdicts if row.before_usd}
    assert before == {AAVE: 2e5, LIDO: 1e5}
    assert {trade.strategy_id for trade in whole.trades if trade.amount_usd < 0} <= set(before)


def test_limits_are_kept(whole: AllocationReport) -> None:
    candidates = {one.candidate.strategy_id: one.candidate for one in whole.made}
    held = positions(whole)
    assert len(held) >= 3
    assert all(20_000.0 * (1 - 1e-6) <= amount <= 0.3e6 * (1 + 1e-6) for amount in held.values())
    for name, amount in held.items():
        size = candidates[name].tvl_usd
        before = whole.allocation.problem.holdings.positions_usd.get(name, 0.0)
        assert size is not None
        assert amount <= 0.05 * (size - before + amount) * (1 + 1e-6)
    for kind, share in SPREAD.max_group_share.items():
        for group in {candidate.groups[kind] for candidate in candidates.values()}:
            used = sum(amount for name, amount in held.items() if candidates[name].groups[kind] == group)
            assert used <= share * 1e6 * (1 + 1e-6)
    assert sum(amount * candidates[name].exit_days for name, amount in held.items()) <= 1.5e6 * (1 + 1e-6)
    slow = sum(
        amount if candidates[name].exit_days else max(0.0, amount - _at_once(candidates[name].instant_usd))
        for name, amount in held.items()
    )
    assert slow <= 0.7e6 * (1 + 1e-6)
    assert sum(abs(trade.amount_usd) for trade in whole.trades) <= 0.9e6 * (1 + 1e-6)
    assert whole.allocation.outcome.cvar <= 0.02 * (1 + 1e-6)
    assert whole.allocation.certificate.certified


def _at_once(known: float | None) -> float:
    return math.inf if known is None else known


def test_expected_income_is_that_of_the_scenarios_at_diluted_rates(calm: AllocationReport) -> None:
    drawn = calm.view.simulation.scenarios
    scenarios, income = tempered(drawn, np.array([one.candidate.apy for one in calm.made])), 0.0
    years = 30 / 365
    for column, one in enumerate(calm.made):
        amount = positions(calm).get(one.candidate.strategy_id, 0.0)
        rate = [float(value) for value in one.candidate.curve.rate(np.array([0.0, amount]))]
        for p, apy, price, loss in zip(
            scenarios.probability, scenarios.apy[:, column], scenarios.price_return[:, column],
            scenarios.loss[:, column], strict=True,
        ):  # fmt: skip
            earned = (1 + apy) ** years - 1
            paid = earned * rate[1] / rate[0] if earned > 0 else earned
            income += p * amount * ((1 + price) * (1 - loss) * (1 + paid) - 1)
    outcome = calm.allocation.outcome
    assert outcome.income_usd == pytest.approx(income - outcome.cost_usd, rel=1e-9)
    assert outcome.net_apy == pytest.approx((1 + outcome.income_usd / 1e6) ** (365 / 30) - 1)


def test_names_may_be_aliases_everywhere(forecaster: Forecaster) -> None:
    def asked(aave: str, lido: str, compound: str) -> AllocationReport:
        limits = Limits(only=(aave, lido), strategy_share={aave: 0.7, lido: 0.1})
        held = Holdings(1e6, {lido: 3e5})
        return allocate_with(forecaster, order((aave, compound), holdings=held, limits=limits))

    found = asked("aave", " LIDO", "compound")
    assert same(found, asked(AAVE, LIDO, COMPOUND))
    assert set(positions(found)) == {AAVE, LIDO}
    assert positions(found)[AAVE] == pytest.approx(7e5, rel=1e-4)
    assert positions(found)[LIDO] <= 1e5 * (1 + 1e-6)


def test_two_names_of_one_position_are_added_up(forecaster: Forecaster) -> None:
    held = Holdings(1e6, {"aave": 1e5, AAVE: 2e5})
    report = allocate_with(forecaster, order(holdings=held))
    assert report.allocation.problem.holdings.positions_usd == {AAVE: 3e5}
    assert same(report, allocate_with(forecaster, order((*CALM, AAVE), holdings=Holdings(1e6, {AAVE: 3e5}))))


@pytest.mark.parametrize(
    "more",
    [
        {"strategies": ("aave", "nobody")},
        {"holdings": Holdings(1e6, {"nobody": 1.0})},
        {"limits": Limits(never=("nobody",))},
        {"limits": Limits(only=("nobody",))},
        {"limits": Limits(strategy_share={"nobody": 0.1})},
    ],
)
def test_unknown_names_are_refused(forecaster: Forecaster, more: dict[str, Any]) -> None:
    with pytest.raises(UnknownStrategyError, match="unknown strategy 'nobody'"):
        allocate_with(forecaster, replace(order(), **more))


def test_a_position_outside_the_strategies_asked_for_is_a_candidate_too(forecaster: Forecaster) -> None:
    report = allocate_with(forecaster, order(("aave",), holdings=Holdings(1e6, {"lido": 1e5})))
    assert {row.strategy_id: row.before_usd for row in report.verdicts} == {AAVE: 0.0, LIDO: 1e5}


def test_a_banned_position_is_sold(forecaster: Forecaster) -> None:
    held, limits = Holdings(1e6, {"lido": 1e5}), Limits(never=("lido",))
    report = allocate_with(forecaster, order(holdings=held, limits=limits))
    assert [(t.strategy_id, t.amount_usd) for t in report.trades if t.amount_usd < 0] == [(LIDO, pytest.approx(-1e5))]
    assert "never" in next(row.why for row in report.verdicts if row.strategy_id == LIDO)


def test_banning_what_is_no_candidate_changes_nothing(forecaster: Forecaster, calm: AllocationReport) -> None:
    assert same(allocate_with(forecaster, order(limits=Limits(never=("susde",)))), calm)


def without_size(strategy: str) -> Dataset:
    return with_values(strategy, tvl_usd=None, total_supply_usd=None, total_borrow_usd=None, utilization=None)


def test_what_has_no_size_is_left_out_with_the_reason(forecaster: Forecaster) -> None:
    sized = on_tables(forecaster, without_size(POOL))
    report = allocate_with(sized, order(None, limits=Limits(never=(POOL,))))
    assert "size was never known" in report.left_out[POOL]
    assert POOL not in {row.strategy_id for row in report.verdicts}
    assert len(report.verdicts) == 11
    assert "size was never known" in to_json(report)["left_out"][POOL]


@pytest.mark.parametrize(
    ("strategies", "held"), [(("aave", POOL), {}), (("aave",), {POOL: 1e4}), (None, {POOL: 1e4}), ((POOL,), {})]
)
def test_what_has_no_size_is_refused_by_name_or_as_a_position(
    forecaster: Forecaster, strategies: tuple[str, ...] | None, held: dict[str, float]
) -> None:
    sized = on_tables(forecaster, without_size(POOL))
    with pytest.raises(HistoryError, match=f"{POOL}: the pool's size was never known"):
        allocate_with(sized, order(strategies, holdings=Holdings(1e6, held)))


def test_what_has_ended_is_left_out_or_refused_as_a_position(forecaster: Forecaster) -> None:
    early = (pl.col("strategy_id") != POOL) | (pl.col("date") < LAST - dt.timedelta(days=40))
    ended = on_tables(forecaster, replace(market(), yields=market().yields.filter(early)))
    assert "it seems to have ended" in allocate_with(ended, order(None)).left_out[POOL]
    with pytest.raises(HistoryError, match=f"^{POOL}: no row since"):
        allocate_with(ended, order(None, holdings=Holdings(1e6, {POOL: 1e4})))
    assert POOL in {row.strategy_id for row in allocate_with(ended, order((POOL, "aave"))).verdicts}


def test_where_nothing_has_a_size_that_is_the_reason(forecaster: Forecaster) -> None:
    own = pl.col("strategy_id").is_in([AAVE, POOL])
    bare = market().yields.filter(own).select("strategy_id", "date", "apy", "source")
    strategies = market().strategies.filter(own)
    with pytest.raises(HistoryError, match="size was never known"):
        allocate_with(on_tables(forecaster, replace(market(), yields=bare, strategies=strategies)), order(None))


def test_the_same_seed_gives_the_same_answer(forecaster: Forecaster, calm: AllocationReport) -> None:
    again, other = allocate_with(forecaster, order()), allocate_with(forecaster, order(seed=1))
    assert without_seconds(to_json(again)) == without_seconds(to_json(calm))
    assert other.allocation.outcome.cvar != calm.allocation.outcome.cvar


def without_seconds(content: dict[str, Any]) -> dict[str, Any]:
    certificate = {name: value for name, value in content["certificate"].items() if name != "seconds"}
    return dict(plain({**content, "certificate": certificate}))


def test_the_order_of_the_strategies_decides_nothing(forecaster: Forecaster, calm: AllocationReport) -> None:
    assert same(allocate_with(forecaster, order(CALM[::-1])), calm, rel=1e-3)


def test_json_has_a_shape_and_no_number_that_json_cannot_hold(whole: AllocationReport) -> None:
    content = json.loads(json.dumps(plain(to_json(whole)), allow_nan=False))
    assert set(content) >= {
        "capital_usd", "horizon_days", "as_of", "simulated", "model_version", "weights", "cash_usd", "outcome",
        "cutoff_apy", "strategies", "limits", "trades", "left_out", "certificate", "notes",
    }  # fmt: skip
    assert (content["capital_usd"], content["horizon_days"], content["as_of"]) == (1e6, 30, LAST.isoformat())
    assert content["simulated"] is True
    assert content["certificate"]["certified"] is True
    assert content["weights"] == {name: pytest.approx(amount / 1e6) for name, amount in positions(whole).items()}
    parts = sum(content["weights"].values()) + (content["cash_usd"] + content["outcome"]["cost_usd"]) / 1e6
    assert parts == pytest.approx(1.0, abs=1e-8)
    assert {row["strategy_id"] for row in content["strategies"]} == set(market().yields["strategy_id"])
    for row in content["strategies"]:
        assert row["curve"] in ("fitted", "assumed", "price taker")
        assert all(isinstance(row[name], float) for name in ("amount_usd", "share", "before_usd", "apy", "apy_after"))
        assert len(row["rate_kept_at_a_tenth"]) == 2
    assert all(isinstance(state["binds"], bool) for state in content["limits"])


@pytest.mark.parametrize("back", [90])
def test_later_rows_change_no_allocation(forecaster: Forecaster, back: int) -> None:
    day = LAST - dt.timedelta(days=back)
    changed = on_tables(forecaster, scrambled_after(day, back))
    truncated = allocate_with(on_tables(forecaster, market().known_at(day)), order(FIVE))
    assert truncated.as_of == day
    before, after = decided(forecaster, day), decided(changed, day)
    assert np.array_equal(before, after)
    assert before.sum() > 1e5
    known = positions(truncated)
    found = dict(zip(truncated.view.simulation.scenarios.strategy_ids, before, strict=True))
    assert {name: amount for name, amount in found.items() if amount} == pytest.approx(known, rel=1e-3)


def decided(forecaster: Forecaster, day: dt.date) -> np.ndarray:
    """Allocate as of a past day, step by step, with every row of the tables at hand."""
    view = outlook(forecaster, Question(FIVE, 30, as_of=day), Draw(120))
    habits = load_habits(forecaster.dataset.known_at(day).market)
    made, _ = made_from(Workshop(forecaster.dataset, habits, view.exposed, 30, day), view.answer.rows)
    problem = Problem(tuple(one.candidate for one in made), MILLION, view.simulation.scenarios)
    return allocate(problem).positions_usd


def test_a_limit_on_drawdown_lays_out_paths_and_is_kept(forecaster: Forecaster, calm: AllocationReport) -> None:
    assert calm.allocation.problem.paths is None
    report = allocate_with(forecaster, order(limits=Limits(max_drawdown=0.001), n_scenarios=400))
    paths, scenarios = report.allocation.problem.paths, report.view.simulation.scenarios
    assert paths is not None
    events = np.array([bool(label) for label in scenarios.label])
    assert paths.nav.shape == (250 + events.sum(), 31, 3)
    assert paths.probability.sum() == pytest.approx(1.0)
    assert paths.probability[250:] == pytest.approx(scenarios.probability[events])
    state = next(state for state in report.limits if state.name == "max_drawdown")
    assert 0.0 < state.used <= 0.001 * (1 + 1e-4)
    assert sum(positions(report).values()) < sum(positions(calm).values())


@pytest.mark.parametrize("capital", [1.0, 40.0])
def test_capital_that_gas_would_eat_stays_cash(forecaster: Forecaster, capital: float) -> None:
    report = allocate_with(forecaster, order(holdings=Holdings(capital)))
    assert positions(report) == {}
    assert (report.allocation.cash_usd, report.trades) == (capital, [])
    assert {row.strategy_id for row in report.verdicts} == {AAVE, LIDO, COMPOUND}


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(max_share=0.1, min_invested_share=0.9), "min_invested_share"),
        (Limits(max_group_share={"category": 0.2}, min_invested_share=0.5), "max_category_share of "),
        (Limits(max_cvar=0.0001, min_invested_share=1.0), "max_cvar"),
    ],
)
def test_limits_that_contradict_are_named(forecaster: Forecaster, limits: Limits, named: str) -> None:
    with pytest.raises(InfeasibleError, match="limits that cannot all be met") as refusal:
        allocate_with(forecaster, order(limits=limits))
    assert any(name.startswith(named) for name in refusal.value.limits)
    assert refusal.value.relaxation


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"horizon_days": 31}, "horizon_days: received 31, allowed is a whole number from 1 to 30"),
        ({"horizon_days": 0}, "horizon_days: received 0"),
        ({"strategies": ()}, "at least one alias or strategy_id"),
        ({"n_scenarios": 0}, "n_scenarios: received 0"),
        ({"seed": -1}, "seed: received -1"),
        ({"limits": Limits(only=("susde",))}, f"strategies: received \\['{SUSDE}'\\]"),
    ],
)
def test_bad_orders_are_refused(forecaster: Forecaster, more: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        allocate_with(forecaster, replace(order(), **more))


def test_a_single_strategy_and_a_single_day(forecaster: Forecaster) -> None:
    report = allocate_with(forecaster, order(("aave",), horizon_days=1, holdings=Holdings(1e7)))
    assert [row.strategy_id for row in report.verdicts] == [AAVE]
    assert positions(report).get(AAVE, 0.0) <= 0.4e7 * (1 + 1e-6)
    assert report.horizon_days == report.view.simulation.scenarios.horizon_days == 1


def test_a_report_says_where_it_comes_from(calm: AllocationReport) -> None:
    assert (calm.as_of, calm.simulated, calm.shown[AAVE]) == (LAST, True, "aave")
    assert any("SIMULATED" in note for note in calm.notes)
    assert calm.shown[DELTA] == "delta"


def test_one_call_opens_files(tables: Path, tiny_model: Path, calm: AllocationReport) -> None:
    assert same(optimize(order(), data=tables, model=tiny_model), calm)
