"""Tables of risk and allocation for the terminal."""

from __future__ import annotations

import math
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.allocate import AllocationReport
from aegis_yield.pipelines.risk import RiskReport
from aegis_yield.portfolio.explain import LimitState, Trade, Verdict
from aegis_yield.reporting.console import percent

_LEAST_SHOWN: Final = 1e-4
"""A gap below what two digits of a per cent show is shown as that."""

MAX_OUT: Final = 12
"""So many candidates that stay out are listed; the rest are counted."""


def risk_table(report: RiskReport) -> Table:
    """Return each strategy's risk over the horizon, in the order asked for."""
    title = f"Risk of the next {report.horizon_days} days{_simulated(report.simulated)}"
    names = ("forecast", "90% interval", "lost a year", "CVaR 95%", "P(loss > 1%)", "max drawdown", "P(fall > 5%)")
    table = _table(title, *((name, "right") for name in names))
    for row in report.rows:
        cells = (
            percent(row.apy),
            f"{percent(row.low)} … {percent(row.high)}",
            percent(row.expected_loss_a_year),
            percent(row.cvar),
            percent(row.loss_probability),
            percent(row.expected_max_drawdown),
            percent(row.drawdown_probability),
        )
        table.add_row(Text(row.name), *cells, end_section=row is report.rows[-1])
    lines = [f"{row.name}: most of it from {row.worst_event}" for row in report.rows if row.worst_event]
    return _captioned(table, lines[:MAX_OUT])


def allocation_table(report: AllocationReport) -> Table:
    """Return where the capital goes, and why, the positions first."""
    outcome, capital = report.allocation.outcome, report.allocation.problem.holdings.capital_usd
    title = f"{_usd(capital)} for {report.horizon_days} days{_simulated(report.simulated)}"
    names = (("amount", "right"), ("share", "right"), ("forecast", "right"), ("after deposit", "right"))
    table = _table(title, *names, ("why", "left"))
    rows = report.verdicts
    inside = [row for row in rows if row.amount_usd > 0]
    outside = [row for row in rows if row.amount_usd == 0]
    for row in (*inside, *outside[:MAX_OUT]):
        _add_verdict(table, report, row)
    table.add_row("cash", _usd(report.allocation.cash_usd), percent(report.allocation.cash_usd / capital, 1))
    lines = [f"… and {len(outside) - MAX_OUT:,} more stay out: --json lists them"] if len(outside) > MAX_OUT else []
    lines.append(
        f"expected net APY {percent(outcome.net_apy)} on all of it (90 % of scenarios: {percent(outcome.net_apy_low)} "
        f"… {percent(outcome.net_apy_high)}), {_usd(outcome.income_usd)} in {report.horizon_days} days"
    )
    lines.append(
        f"CVaR 95 % {percent(outcome.cvar)} of capital, P(loss > 1 %) {percent(outcome.loss_probability)}, worst "
        f"scenario {percent(-outcome.worst_loss)}"
    )
    proof = report.allocation.certificate
    bound = (
        f"within {percent(max(proof.gap, _LEAST_SHOWN))} of the best"
        if math.isfinite(proof.gap)
        else "no distance from the best known"
    )
    proven = "certified" if proof.certified else f"not certified: {bound}"
    lines.append(f"{proven} ({proof.solver}, {proof.seconds:.2f} s)")
    return _captioned(table, lines)


def _add_verdict(table: Table, report: AllocationReport, row: Verdict) -> None:
    name = report.shown.get(row.strategy_id, row.strategy_id)
    amount, share = (_usd(row.amount_usd), percent(row.share, 1)) if row.amount_usd else ("", "")
    after = percent(row.apy_after) if row.amount_usd else ""
    table.add_row(Text(name), amount, share, percent(row.apy), after, Text(row.why))


def limit_table(limits: list[LimitState]) -> Table:
    """Return the limits that are used at all, with slack and price, binding ones first."""
    columns = [(name, "right") for name in ("used", "allowed", "slack", "a wider bound would pay")]
    table = _table("Limits", *columns, first="limit")
    for state in limits:
        if not (state.used > 0.0 or state.binds):
            continue
        show = _days if state.name == "max_exit_days" else _share
        price = f"{state.price:,.3f} USD a year per USD" if state.binds and state.price > 0 else ""
        slack = "binds" if state.binds else show(state.allowed - state.used)
        table.add_row(Text(state.name), show(state.used), show(state.allowed), slack, price)
    return table


def trade_table(trades: list[Trade]) -> Table:
    """Return what has to be moved, what that costs and when it has paid for itself."""
    columns = [(name, "right") for name in ("amount", "cost", "pays for itself in")]
    table = _table("Trades", *columns)
    for trade in trades:
        days = trade.break_even_days
        verb = "deposit" if trade.amount_usd > 0 else "withdraw"
        when = "" if trade.amount_usd < 0 else "never" if math.isinf(days) else f"{days:.1f} days"
        cost = f"{trade.cost_usd:,.2f} USD"
        table.add_row(Text(trade.strategy_id), f"{verb} {_usd(abs(trade.amount_usd))}", cost, when)
    return table


def _table(title: str, *columns: tuple[str, str], first: str = "strategy") -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column(first, overflow="fold", min_width=8)
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _captioned(table: Table, lines: list[str]) -> Table:
    table.caption, table.caption_justify = (Text("\n".join(lines), style="table.caption") if lines else None), "left"
    return table


def _simulated(simulated: bool) -> str:
    return " (SIMULATED data)" if simulated else ""


def _usd(amount: float) -> str:
    return f"{amount:,.0f} USD"


def _share(value: float) -> str:
    return percent(value, 1)


def _days(value: float) -> str:
    return f"{value:.1f} d"
