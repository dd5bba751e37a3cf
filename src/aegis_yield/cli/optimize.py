"""``aegis optimize``: where the capital should go, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from aegis_yield.cli.options import DataOption, HorizonOption, JsonFlag, ModelOption
from aegis_yield.cli.shared import notes, out, say
from aegis_yield.domain.errors import DataError, RequestError

if TYPE_CHECKING:
    from aegis_yield.pipelines.allocate import AllocationReport


def optimize(
    capital: Annotated[float, typer.Option(help="US dollars to allocate, present positions included.")] = 1_000_000.0,
    strategies: Annotated[
        list[str] | None, typer.Option("--strategies", help="Candidates: aliases or ids. Default: all with a forecast.")
    ] = None,
    horizon: HorizonOption = 30,
    goal: Annotated[str, typer.Option(help="mean-cvar, income, mean-variance, ratio or robust.")] = "mean-cvar",
    risk_aversion: Annotated[float, typer.Option(help="Income given up to lose a dollar of CVaR.")] = 0.05,
    risk_free: Annotated[float, typer.Option(help="What idle cash earns, a fraction a year.")] = 0.0,
    max_share: Annotated[float, typer.Option(help="Of capital in one strategy.")] = 0.4,
    max_protocol: Annotated[float, typer.Option(help="Of capital in one protocol.")] = 0.5,
    max_chain: Annotated[float, typer.Option(help="Of capital on one chain.")] = 1.0,
    max_category: Annotated[float, typer.Option(help="Of capital in one category.")] = 1.0,
    max_issuer: Annotated[float, typer.Option(help="Of capital in one issuer's coin.")] = 1.0,
    min_tvl: Annotated[float, typer.Option(help="US dollars a pool must hold.")] = 0.0,
    max_tvl_share: Annotated[float, typer.Option(help="Of a pool that may be ours.")] = 0.1,
    min_instant: Annotated[float, typer.Option(help="Of capital to be withdrawable at once.")] = 0.0,
    max_exit_days: Annotated[float | None, typer.Option(help="Mean days to withdraw.")] = None,
    min_ticket: Annotated[float, typer.Option(help="US dollars: a position is nothing or at least this.")] = 0.0,
    max_positions: Annotated[int | None, typer.Option(help="Number of positions.")] = None,
    min_invested: Annotated[float, typer.Option(help="Of capital that must not stay cash.")] = 0.0,
    max_cvar: Annotated[float | None, typer.Option(help="Of capital: CVaR over the horizon.")] = None,
    max_drawdown: Annotated[float | None, typer.Option(help="Of capital: mean of the worst falls on the way.")] = None,
    max_loss_probability: Annotated[float | None, typer.Option(help="Of losing more than 1 % of capital.")] = None,
    max_turnover: Annotated[float | None, typer.Option(help="Of capital: purchases plus sales.")] = None,
    never: Annotated[list[str] | None, typer.Option("--never", help="Strategies not to be used.")] = None,
    current: Annotated[
        Path | None, typer.Option(help='JSON file of present positions: {"aave": 250000, …} in US dollars.')
    ] = None,
    scenarios: Annotated[int, typer.Option(help="Ordinary scenarios; events come on top, exactly.")] = 1000,
    data: DataOption = None,
    model: ModelOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Split capital among strategies: what each pays after your own deposit, its risk, limits, gas and exit times.

    Examples:

      aegis optimize --capital 1000000 --strategies aave lido delta

      aegis optimize --capital 250000 --goal income --max-positions 4 --min-ticket 10000

      aegis optimize --current positions.json --max-turnover 0.3 --json
    """
    from aegis_yield.pipelines.allocate import AllocationOrder
    from aegis_yield.pipelines.allocate import optimize as run
    from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Objective

    if goal not in list(Goal):
        raise RequestError("goal", goal, ", ".join(Goal))
    groups = {"protocol": max_protocol, "chain": max_chain, "category": max_category, "issuer": max_issuer}
    limits = Limits(
        max_share=max_share,
        max_group_share={kind: share for kind, share in groups.items() if share != 1.0},
        min_tvl_usd=min_tvl,
        max_tvl_share=max_tvl_share,
        min_invested_share=min_invested,
        min_instant_share=min_instant,
        max_exit_days=float("inf") if max_exit_days is None else max_exit_days,
        min_ticket_usd=min_ticket,
        max_positions=max_positions,
        max_cvar=max_cvar,
        max_drawdown=max_drawdown,
        max_loss_probability=max_loss_probability,
        max_turnover=max_turnover,
        never=tuple(never or ()),
    )
    order = AllocationOrder(
        holdings=Holdings(capital, _positions(current)),
        strategies=tuple(strategies) if strategies else None,
        horizon_days=horizon,
        limits=limits,
        objective=Objective(Goal(goal), risk_aversion, risk_free_apy=risk_free),
        n_scenarios=scenarios,
    )
    _show(run(order, data=data, model=model), html, as_json)


def _show(report: AllocationReport, html: Path | None, as_json: bool) -> None:
    from aegis_yield.pipelines.allocate import to_json
    from aegis_yield.reporting.allocation_tables import allocation_table, limit_table, trade_table

    if as_json:
        from aegis_yield.cli.risk import plain

        typer.echo(json.dumps(plain(to_json(report)), indent=2, default=str, allow_nan=False))
    else:
        out.print(allocation_table(report))
        out.print(limit_table(report.limits))
        if report.trades:
            out.print(trade_table(report.trades))
    for note in report.notes:
        notes.print(f"[yellow]note:[/] {escape(note)}")
    if html is not None:
        from aegis_yield.reporting.allocation_page import write_allocation_page

        write_allocation_page(report, html)
        say(f"report: {html}")


def _positions(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    allowed = 'an object of strategies and US dollars, such as {"aave": 250000}'
    try:
        content: Any = json.loads(path.read_text(), parse_int=float)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); allowed is {allowed}") from error
    numbers = isinstance(content, dict) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in content.values()
    )
    if not numbers:
        raise DataError(f"{path}: received {str(content)[:80]}, allowed is {allowed}")
    return {str(name): float(value) for name, value in content.items()}
