"""The allocation report: where the capital goes and why, at what risk, and what else could be done with it."""

from __future__ import annotations

import math
from pathlib import Path

from aegis_yield.pipelines.allocate import AllocationReport
from aegis_yield.pipelines.risk import RiskReport, risk_report
from aegis_yield.portfolio.comparison import Alternative, frontier, references
from aegis_yield.portfolio.outcome import scenario_profits
from aegis_yield.reporting.allocation_charts import frontier_chart, outcome_chart
from aegis_yield.reporting.console import percent
from aegis_yield.reporting.forecast_page import SIMULATED_BANNER
from aegis_yield.reporting.html import Page

_LEAST_SHOWN = 1e-4


def write_allocation_page(report: AllocationReport, path: Path) -> None:
    """Write an allocation as one HTML file.

    Parameters
    ----------
    report : AllocationReport
        What to report.
    path : Path
        Where the page goes.
    """
    capital = report.allocation.problem.holdings.capital_usd
    page = Page(
        title=f"Where {capital:,.0f} USD should go for {report.horizon_days} days",
        lead=f"Model {report.view.answer.model_version}; data to {report.as_of}; "
        f"{len(report.verdicts)} candidates, {len(report.view.simulation.scenarios.probability):,} scenarios.",
        banner=SIMULATED_BANNER if report.simulated else "",
    )
    for note in report.notes:
        page.paragraph(f"Note: {note}.")
    add_allocation(page, report)
    page.heading("Risk of each strategy")
    add_risk(page, risk_report(report.view))
    page.write(path)


def add_allocation(page: Page, report: AllocationReport) -> None:
    """Add the allocation to a page: figures, positions, limits, trades, pictures."""
    allocation = report.allocation
    problem, outcome, capital = allocation.problem, allocation.outcome, allocation.problem.holdings.capital_usd
    proof = allocation.certificate
    page.table(
        ["expected net APY", "90 % of scenarios", "income", "CVaR 95 %", "P(loss > 1 %)", "worst scenario", "answer"],
        [
            [
                percent(outcome.net_apy), f"{percent(outcome.net_apy_low)} … {percent(outcome.net_apy_high)}",
                _usd(outcome.income_usd), percent(outcome.cvar), percent(outcome.loss_probability),
                percent(-outcome.worst_loss),
                "certified" if proof.certified else f"proven to {percent(max(proof.gap, _LEAST_SHOWN))} of the best",
            ]
        ],
        caption="After dilution by the deposit itself, expected losses, gas, fees and slippage.",
    )  # fmt: skip
    inside = [row for row in report.verdicts if row.amount_usd > 0 or row.before_usd > 0]
    outside = [row for row in report.verdicts if row not in inside]
    page.table(
        ["strategy", "amount", "share", "forecast", "after deposit", "why"],
        [
            [report.shown.get(row.strategy_id, row.strategy_id), _usd(row.amount_usd), percent(row.share, 1),
             percent(row.apy), percent(row.apy_after), row.why]
            for row in inside
        ] + [["cash", _usd(allocation.cash_usd), percent(allocation.cash_usd / capital, 1), "", "", ""]],
    )  # fmt: skip
    page.figure(frontier_chart(frontier(problem), references(problem), outcome))
    page.figure(
        outcome_chart(scenario_profits(problem, allocation.positions_usd), problem.scenarios.probability, capital)
    )
    _add_alternatives(page, references(problem), report)
    if outside:
        page.heading("What stays out")
        page.table(
            ["strategy", "forecast", "why"],
            [[report.shown.get(row.strategy_id, row.strategy_id), percent(row.apy), row.why] for row in outside[:60]],
        )
    _add_limits_and_trades(page, report)


def _add_alternatives(page: Page, others: list[Alternative], report: AllocationReport) -> None:
    rows = [("this allocation", report.allocation.outcome), *((other.name, other.outcome) for other in others)]
    page.table(
        ["way", "expected net APY", "CVaR 95 %", "P(loss > 1 %)", "costs"],
        [
            [name, percent(outcome.net_apy), percent(outcome.cvar), percent(outcome.loss_probability),
             _usd(outcome.cost_usd)]
            for name, outcome in rows
        ],
        caption="The same capital, curves, scenarios and costs; the others keep to no limits.",
    )  # fmt: skip


def _add_limits_and_trades(page: Page, report: AllocationReport) -> None:
    page.heading("Limits and trades")
    used = [state for state in report.limits if state.binds or state.used > 0]
    page.table(
        ["limit", "used", "allowed", "a wider bound would pay"],
        [
            [state.name, _amount(state.name, state.used), _amount(state.name, state.allowed),
             f"{state.price:,.3f} USD a year per USD" if state.binds and state.price > 0 else ""]
            for state in used
        ],
    )  # fmt: skip
    if report.trades:
        page.table(
            ["strategy", "trade", "cost", "pays for itself in"],
            [
                [trade.strategy_id, _move(trade.amount_usd),
                 f"{trade.cost_usd:,.2f} USD", _days(trade.break_even_days) if trade.amount_usd > 0 else ""]
                for trade in report.trades
            ],
        )  # fmt: skip


def add_risk(page: Page, report: RiskReport) -> None:
    """Add a risk table to a page."""
    page.table(
        ["strategy", "forecast", "90 % interval", "lost a year", "CVaR 95 %", "P(loss > 1 %)", "max drawdown",
         "worst event"],
        [
            [row.name, percent(row.apy), f"{percent(row.low)} … {percent(row.high)}", percent(row.expected_loss_a_year),
             percent(row.cvar), percent(row.loss_probability), percent(row.expected_max_drawdown), row.worst_event]
            for row in report.rows
        ],
        caption=f"Over {report.horizon_days} days, of the principal; {report.n_scenarios:,} scenarios. Hazards and "
        "their sources: configs/hazards.toml.",
    )  # fmt: skip


def _amount(name: str, value: float) -> str:
    return f"{value:.1f} days" if name == "max_exit_days" else percent(value, 1)


def _usd(amount: float) -> str:
    return f"{amount:,.0f} USD"


def _move(amount: float) -> str:
    return f"{'deposit' if amount > 0 else 'withdraw'} {_usd(abs(amount))}"


def _days(days: float) -> str:
    return "never" if math.isinf(days) else f"{days:.1f} days"
