"""Tables of risk and allocation: every figure where it belongs, names as they are, long lists cut and counted."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from aegis_yield.pipelines.allocate import AllocationOrder, AllocationReport, allocate_with
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.risk import RiskReport, outlook, risk_report
from aegis_yield.portfolio.explain import LimitState, Trade, Verdict
from aegis_yield.portfolio.problem import Holdings, Limits
from aegis_yield.reporting.allocation_tables import MAX_OUT, allocation_table, limit_table, risk_table, trade_table
from aegis_yield.reporting.console import percent
from aegis_yield.risk.scenarios import Draw

HOSTILE = "[red]li[/bold]do"
VERDICT = Verdict("x:y:z", 250_000.0, 0.25, 0.0, 0.0512, 0.0487, 0.01, "because [b]so[/b]")
OUT = replace(VERDICT, amount_usd=0.0, share=0.0, why="too dear")


def printed(table: Table, width: int = 200) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def line_of(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


@pytest.fixture(scope="module")
def risks(forecaster: Forecaster) -> RiskReport:
    return risk_report(outlook(forecaster, Question(["aave", "lido"], 14), Draw(60)))


@pytest.fixture(scope="module")
def report(forecaster: Forecaster) -> AllocationReport:
    limits = Limits(max_exit_days=1.0, max_group_share={"protocol": 0.5})
    order = AllocationOrder(Holdings(1e6), ("aave", "lido", "compound"), 14, limits, n_scenarios=60)
    return allocate_with(forecaster, order)


def verdicts(report: AllocationReport, *rows: Verdict) -> AllocationReport:
    return replace(report, verdicts=list(rows))


def certified(report: AllocationReport, **changes: Any) -> AllocationReport:
    certificate = replace(report.allocation.certificate, **changes)
    return replace(report, allocation=replace(report.allocation, certificate=certificate))


def test_a_line_of_risk_holds_every_figure_in_its_place(risks: RiskReport) -> None:
    text = printed(risk_table(risks))
    for row in risks.rows:
        figures = (
            row.expected_loss_a_year, row.cvar, row.loss_probability, row.expected_max_drawdown,
            row.drawdown_probability,
        )  # fmt: skip
        interval = [percent(row.low), "…", percent(row.high)]
        assert line_of(text, row.name) == [row.name, percent(row.apy), *interval, *map(percent, figures)]
        assert f"{row.name}: most of it from {row.worst_event}" in text
    assert "Risk of the next 14 days (SIMULATED data)" in text
    assert "SIMULATED" not in printed(risk_table(replace(risks, simulated=False)))


def test_a_strategy_that_no_event_touches_has_no_line_for_it(risks: RiskReport) -> None:
    calm = replace(risks, rows=[replace(risks.rows[0], worst_event="")])
    assert "most of it" not in printed(risk_table(calm))


def test_worst_events_are_named_for_the_first_strategies_only(risks: RiskReport) -> None:
    text = printed(risk_table(replace(risks, rows=risks.rows * 50)))
    assert text.count("most of it from") == MAX_OUT
    assert text.count(percent(risks.rows[0].cvar)) >= 50


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_are_no_markup_of_a_risk_table(risks: RiskReport, width: int) -> None:
    row = replace(risks.rows[0], name=HOSTILE, worst_event="exploit of [i]x[/i]")
    text = printed(risk_table(replace(risks, rows=[row])), width)
    assert "[red]" in text
    assert "[i]x[/i]" in " ".join(text.split())


def test_an_allocation_shows_positions_first_then_cash_and_figures(report: AllocationReport) -> None:
    text = printed(allocation_table(verdicts(report, replace(OUT, strategy_id="out:a:b"), VERDICT)))
    assert line_of(text, "x:y:z")[:7] == ["x:y:z", "250,000", "USD", "25.0%", "5.12%", "4.87%", "because"]
    assert line_of(text, "out:a:b") == ["out:a:b", "5.12%", "too", "dear"]
    assert text.index("x:y:z") < text.index("out:a:b") < text.index("cash")
    cash = report.allocation.cash_usd
    assert line_of(text, "cash") == ["cash", f"{cash:,.0f}", "USD", f"{cash / 1e4:.1f}%"]
    outcome, text = report.allocation.outcome, " ".join(text.split())
    assert f"expected net APY {percent(outcome.net_apy)} on all of it" in text
    assert f"{outcome.income_usd:,.0f} USD in 14 days" in text
    assert f"CVaR 95 % {percent(outcome.cvar)} of capital" in text
    assert f"worst scenario {percent(-outcome.worst_loss)}" in text
    assert text.startswith("1,000,000 USD for 14 days (SIMULATED data)")


def test_a_real_allocation_is_shown_under_short_names(report: AllocationReport) -> None:
    text = printed(allocation_table(report))
    for row in report.verdicts:
        words = line_of(text, report.shown[row.strategy_id])
        assert percent(row.apy) in words
        assert (f"{row.amount_usd:,.0f}" in words) == (row.amount_usd > 0)
    assert "aave-v3:ethereum:usdc" not in text


@pytest.mark.parametrize("name", [HOSTILE, "[link=https://x]y", "[/]"])
def test_names_and_reasons_are_no_markup(report: AllocationReport, name: str) -> None:
    text = printed(allocation_table(verdicts(report, replace(VERDICT, strategy_id=name))))
    assert name in text
    assert "because [b]so[/b]" in text
    state = LimitState(f"max_protocol_share of {name}", 0.2, 0.5, 0.0, binds=False)
    assert state.name in printed(limit_table([state]))
    assert name in printed(trade_table([Trade(name, 1e4, 1.0, 2.0)]))


def test_a_short_name_is_no_markup_either(report: AllocationReport) -> None:
    named = replace(verdicts(report, VERDICT), shown={"x:y:z": HOSTILE})
    assert HOSTILE in printed(allocation_table(named))


@pytest.mark.parametrize(("n_out", "listed", "counted"), [(12, 12, ""), (13, 12, "… and 1 more"), (4012, 12, "4,000")])
def test_a_long_list_of_those_that_stay_out_is_cut_and_counted(
    report: AllocationReport, n_out: int, listed: int, counted: str
) -> None:
    text = printed(allocation_table(verdicts(report, VERDICT, *[OUT] * n_out)))
    assert text.count("too dear") == listed
    assert counted in text
    assert ("more stay out: --json lists them" in text) == bool(counted)


def test_no_position_is_ever_cut(report: AllocationReport) -> None:
    assert printed(allocation_table(verdicts(report, *[VERDICT] * 60))).count("250,000 USD") == 60


def test_only_what_is_proven_is_called_certified(report: AllocationReport) -> None:
    proven = printed(allocation_table(certified(report, certified=True, solver="S", seconds=0.5)))
    assert "certified (S, 0.50 s)" in proven
    assert "not certified" not in proven
    near = printed(allocation_table(certified(report, certified=False, gap=0.02)))
    assert "not certified: within 2.00% of the best" in near
    for gap in (math.inf, math.nan):
        unknown = printed(allocation_table(certified(report, certified=False, gap=gap)))
        assert "not certified: no distance from the best known" in unknown


def test_limits_show_slack_or_that_they_bind(report: AllocationReport) -> None:
    text = printed(
        limit_table(
            [
                LimitState("capital", 1.0, 1.0, 0.0473, binds=True),
                LimitState("max_exit_days", 1.25, 3.0, 0.0, binds=False),
                LimitState("max_cvar", 0.004, 0.02, 0.5, binds=False),
                LimitState("max_protocol_share of lido", 0.0, 0.5, 0.0, binds=False),
                LimitState("max_turnover", 0.0, 0.0, 0.0, binds=True),
            ]
        )
    )
    assert line_of(text, "capital")[1:5] == ["100.0%", "100.0%", "binds", "0.047"]
    assert line_of(text, "max_exit_days") == ["max_exit_days", "1.2", "d", "3.0", "d", "1.8", "d"]
    assert line_of(text, "max_cvar") == ["max_cvar", "0.4%", "2.0%", "1.6%"]
    assert line_of(text, "max_turnover")[3] == "binds"
    assert "lido" not in text
    assert all(state.name in printed(limit_table(report.limits)) for state in report.limits if state.used > 0)


def test_trades_say_what_they_cost_and_when_they_have_paid() -> None:
    sold = Trade("a", -5e4, 12.345, 0.0)
    text = printed(trade_table([sold, Trade("b", 2.5e5, 1.0, 3.26), Trade("c", 1.0, 9.0, math.inf)]))
    assert line_of(text, "a") == ["a", "withdraw", "50,000", "USD", "12.35", "USD"]
    assert line_of(text, "b") == ["b", "deposit", "250,000", "USD", "1.00", "USD", "3.3", "days"]
    assert line_of(text, "c")[-1] == "never"
