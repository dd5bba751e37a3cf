"""Risk reports: every figure recomputed scenario by scenario, hazards that bite, and nothing from later days."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import CHECKOUT, market
from changed_tables import AAVE, DELTA, LIDO, SUSDE, on_tables, scrambled_after

from aegis_yield.cli.risk import plain
from aegis_yield.domain.errors import HistoryError, RequestError, UnknownStrategyError
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.risk import Outlook, RiskReport, assess, outlook, risk_report
from aegis_yield.risk.scenarios import Draw

NAMES = ("aave", "lido", "delta", "susde")
DRAW = Draw(300, seed=4)
FIRST, LAST = market().first_date, market().last_date
FIGURES = (
    "apy", "low", "high", "nav_volatility", "expected_loss_a_year", "var", "cvar", "loss_probability",
    "expected_max_drawdown", "drawdown_probability",
)  # fmt: skip


@pytest.fixture(scope="module")
def view(forecaster: Forecaster) -> Outlook:
    return outlook(forecaster, Question(NAMES, 30), DRAW)


@pytest.fixture(scope="module")
def report(view: Outlook) -> RiskReport:
    return risk_report(view)


def figures(report: RiskReport) -> dict[str, list[float]]:
    return {row.strategy_id: [getattr(row, name) for name in FIGURES] for row in report.rows}


def naive_tail(losses: list[float], weights: list[float], level: float) -> tuple[float, float]:
    """The least and the mean loss of the worst ``1 - level`` of outcomes, taken one by one from the worst."""
    left, total, least = 1.0 - level, 0.0, math.nan
    for loss, weight in sorted(zip(losses, weights, strict=True), reverse=True):
        taken = min(weight, left)
        total, left, least = total + taken * loss, left - taken, loss
        if left <= 1e-12:
            break
    return least, total / (1.0 - level)


def deepest_fall(path: list[float]) -> float:
    peak, deepest = path[0], 0.0
    for value in path:
        peak = max(peak, value)
        deepest = max(deepest, 1.0 - value / peak)
    return deepest


def naive_row(view: Outlook, column: int) -> dict[str, float]:
    scenarios, years = view.simulation.scenarios, 30 / 365
    weights = [float(p) for p in scenarios.probability]
    own = zip(scenarios.apy[:, column], scenarios.price_return[:, column], scenarios.loss[:, column], strict=True)
    returns = [float((1 + apy) ** years * (1 + price) * (1 - loss) - 1) for apy, price, loss in own]
    falls = [deepest_fall([float(value) for value in path]) for path in view.simulation.nav()[:, :, column]]
    mean = math.fsum(p * r for p, r in zip(weights, returns, strict=True))
    variance = math.fsum(p * (r - mean) ** 2 for p, r in zip(weights, returns, strict=True))
    var, cvar = naive_tail([-r for r in returns], weights, 0.95)
    return {
        "nav_volatility": math.sqrt(variance / years),
        "expected_loss_a_year": math.fsum(p * x for p, x in zip(weights, scenarios.loss[:, column], strict=True))
        / years,
        "var": var,
        "cvar": cvar,
        "loss_probability": math.fsum(p for p, r in zip(weights, returns, strict=True) if -r > 0.01),
        "expected_max_drawdown": math.fsum(p * fall for p, fall in zip(weights, falls, strict=True)),
        "drawdown_probability": math.fsum(p for p, fall in zip(weights, falls, strict=True) if fall > 0.05),
    }


@pytest.mark.parametrize("column", range(len(NAMES)))
def test_figures_equal_a_loop_over_the_scenarios(view: Outlook, report: RiskReport, column: int) -> None:
    row = report.rows[column]
    assert {name: getattr(row, name) for name in FIGURES[3:]} == pytest.approx(naive_row(view, column), rel=1e-9)


def test_rows_carry_the_forecasts_they_belong_to(view: Outlook, report: RiskReport) -> None:
    assert [row.name for row in report.rows] == list(NAMES)
    assert [row.strategy_id for row in report.rows] == list(view.simulation.scenarios.strategy_ids)
    answered = [(row.apy, row.low, row.high) for row in view.answer.rows]
    assert [(row.apy, row.low, row.high) for row in report.rows] == answered
    assert (report.horizon_days, report.as_of, report.simulated) == (30, LAST, True)
    assert report.n_scenarios == 300 + 5 * len(view.events.names)
    assert any("SIMULATED" in note for note in report.notes)


def test_expected_losses_and_the_worst_event_are_those_of_the_event_table(view: Outlook, report: RiskReport) -> None:
    for column, row in enumerate(report.rows):
        costs = {
            name: p * loss
            for name, p, loss in zip(
                view.events.names, view.events.probability, view.events.loss[:, column], strict=True
            )
        }
        assert row.worst_event == max(costs, key=lambda name: costs[name])
        assert row.expected_loss_a_year == pytest.approx(sum(costs.values()) * 365 / 30, rel=1e-9)
    lost = {row.name: row.worst_event for row in report.rows}
    assert ("circle" in lost["aave"], "lido" in lost["lido"], "binance" in lost["delta"]) == (True, True, True)


def with_hazards(folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Let all events be so many times as frequent as the shipped file says."""
    shipped = (CHECKOUT / "configs" / "hazards.toml").read_text()
    text = re.sub(r"(?m)^per_year = (\S+)", lambda found: f"per_year = {factor * float(found[1])}", shipped)
    (folder / "hazards.toml").write_text(text)
    monkeypatch.setenv("AEGIS_HAZARDS", str(folder / "hazards.toml"))


def test_without_events_nothing_is_lost_to_them(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_hazards(tmp_path, monkeypatch, 0.0)
    calm = outlook(forecaster, Question(NAMES, 30), DRAW)
    assert set(calm.simulation.scenarios.label) == {""}
    for row in risk_report(calm).rows:
        assert (row.expected_loss_a_year, row.worst_event) == (0.0, "")


def test_more_hazard_is_more_loss(
    forecaster: Forecaster, report: RiskReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_hazards(tmp_path, monkeypatch, 10.0)
    worse = risk_report(outlook(forecaster, Question(NAMES, 30), DRAW))
    for before, after in zip(report.rows, worse.rows, strict=True):
        assert after.expected_loss_a_year == pytest.approx(10 * before.expected_loss_a_year, rel=0.05)
        assert after.cvar > before.cvar
        assert after.loss_probability > before.loss_probability
        assert (after.apy, after.low, after.high) == (before.apy, before.low, before.high)


def test_an_exposure_of_ones_own_moves_the_loss(
    forecaster: Forecaster, report: RiskReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = (CHECKOUT / "configs" / "hazards.toml").read_text()
    own = f'\n[exposures."{AAVE}"]\nprotocol = []\nissuer = []\nchain = []\n'
    (tmp_path / "hazards.toml").write_text(shipped + own)
    monkeypatch.setenv("AEGIS_HAZARDS", str(tmp_path / "hazards.toml"))
    rows = risk_report(outlook(forecaster, Question(NAMES, 30), DRAW)).rows
    assert (rows[0].expected_loss_a_year, rows[0].worst_event) == (0.0, "")
    assert rows[1].expected_loss_a_year == pytest.approx(report.rows[1].expected_loss_a_year)


def test_the_order_of_the_strategies_decides_nothing(forecaster: Forecaster, report: RiskReport) -> None:
    turned = risk_report(outlook(forecaster, Question(NAMES[::-1], 30), DRAW))
    assert [row.name for row in turned.rows] == list(NAMES[::-1])
    assert [row.worst_event for row in turned.rows[::-1]] == [row.worst_event for row in report.rows]
    for strategy, numbers in figures(turned).items():
        assert numbers == pytest.approx(figures(report)[strategy], rel=1e-5, abs=1e-7)


def test_a_single_strategy_has_the_same_outcomes_as_among_others(
    forecaster: Forecaster, view: Outlook, report: RiskReport
) -> None:
    alone = outlook(forecaster, Question(["susde"], 30), Draw(300, seed=9))
    row, together = risk_report(alone).rows[0], report.rows[3]
    assert np.array_equal(alone.correlation, np.eye(1))
    assert (row.apy, row.expected_loss_a_year) == pytest.approx((together.apy, together.expected_loss_a_year), rel=1e-5)
    ordinary = (alone.simulation.scenarios.apy[:300, 0], view.simulation.scenarios.apy[:300, 3])
    np.testing.assert_allclose(np.sort(ordinary[0]), np.sort(ordinary[1]), rtol=1e-5)


def test_the_same_seed_gives_the_same_report(forecaster: Forecaster, report: RiskReport) -> None:
    again = risk_report(outlook(forecaster, Question(NAMES, 30), DRAW))
    other = risk_report(outlook(forecaster, Question(NAMES, 30), Draw(300, seed=5)))
    assert figures(again) == figures(report)
    assert figures(other)[DELTA][3:] != figures(report)[DELTA][3:]


@pytest.mark.parametrize("strategies", [NAMES, ("aave",)])
def test_json_holds_numbers_only(forecaster: Forecaster, strategies: tuple[str, ...]) -> None:
    made = risk_report(outlook(forecaster, Question(strategies, 1), Draw(50)))
    text = json.dumps(plain(asdict(made)), default=dates_only, allow_nan=False)
    for row in json.loads(text)["rows"]:
        assert all(isinstance(row[name], float) for name in FIGURES)


def dates_only(value: Any) -> str:
    assert isinstance(value, dt.date), f"{value!r} would become a text"
    return value.isoformat()


def everything(view: Outlook) -> list[np.ndarray]:
    scenarios = view.simulation.scenarios
    return [
        view.correlation, view.events.probability, view.events.loss, scenarios.apy, scenarios.price_return,
        scenarios.loss, scenarios.probability, view.simulation.nav(),
    ]  # fmt: skip


@pytest.mark.parametrize("back", [1, 40, 150])
def test_later_rows_change_no_correlation_scenario_or_figure(forecaster: Forecaster, back: int) -> None:
    day = LAST - dt.timedelta(days=back)
    question = Question(NAMES, 14, as_of=day)
    before = outlook(forecaster, question, Draw(60))
    after = outlook(on_tables(forecaster, scrambled_after(day, back)), question, Draw(60))
    assert before.as_of == after.as_of == day
    for expected, found in zip(everything(before), everything(after), strict=True):
        assert np.array_equal(expected, found)
    assert figures(risk_report(before)) == figures(risk_report(after))


def test_rows_of_the_day_itself_do_count(forecaster: Forecaster) -> None:
    day = LAST - dt.timedelta(days=40)
    question = Question(NAMES, 14, as_of=day)
    before = outlook(forecaster, question, Draw(60))
    after = outlook(on_tables(forecaster, scrambled_after(day - dt.timedelta(days=1))), question, Draw(60))
    assert not np.array_equal(before.simulation.scenarios.apy, after.simulation.scenarios.apy)
    assert not np.array_equal(before.simulation.history.price_moves, after.simulation.history.price_moves)


def test_with_hardly_a_past_there_is_still_a_report(forecaster: Forecaster) -> None:
    early = outlook(forecaster, Question(("aave", "lido"), 30, as_of=FIRST + dt.timedelta(days=45)), Draw(40))
    assert np.allclose(np.diag(early.correlation), 1.0)
    assert np.isfinite([value for row in figures(risk_report(early)).values() for value in row]).all()


def test_one_call_opens_files_and_takes_the_default_strategies(
    forecaster: Forecaster, tables: Path, tiny_model: Path
) -> None:
    made = assess(None, 7, data=tables, model=tiny_model, draw=Draw(50))
    expected = risk_report(outlook(forecaster, Question(["aave", "lido", "delta"], 7), Draw(50)))
    assert [row.strategy_id for row in made.rows] == [AAVE, LIDO, DELTA]
    assert figures(made) == figures(expected)


@pytest.mark.parametrize(
    ("strategies", "horizon", "error", "said"),
    [
        (["aav"], 30, UnknownStrategyError, "unknown strategy 'aav'"),
        (["aave", AAVE], 30, RequestError, "each named once"),
        (["aave"], 31, RequestError, "horizon_days: received 31"),
        (["aave"], 0, RequestError, "horizon_days: received 0"),
        ([], 30, RequestError, "at least one"),
    ],
)
def test_bad_questions_are_refused(
    forecaster: Forecaster, strategies: list[str], horizon: int, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        outlook(forecaster, Question(strategies, horizon))


@pytest.mark.parametrize("numbers", [{"n_scenarios": 0}, {"seed": -1}, {"draws_per_event": 0}])
def test_bad_draws_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(numbers))}: received"):
        Draw(**numbers)


def test_too_little_history_is_refused_by_name(forecaster: Forecaster) -> None:
    with pytest.raises(HistoryError, match=SUSDE):
        outlook(forecaster, Question([SUSDE], 30, as_of=FIRST + dt.timedelta(days=10)))
