"""``aegis predict`` and ``aegis demo``: what strategies will pay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from aegis_yield.cli.options import DataOption, HorizonOption, JsonFlag, ModelOption, parse_date
from aegis_yield.cli.shared import notes, out, say

if TYPE_CHECKING:
    from aegis_yield.pipelines.predict import Answer

RISK_HORIZON_DAYS = 30


def predict(
    strategies: Annotated[
        list[str] | None, typer.Option("--strategies", help="Aliases or ids, several after one another.")
    ] = None,
    every_strategy: Annotated[bool, typer.Option("--all", help="Forecast every strategy with enough history.")] = False,
    horizon: HorizonOption = 7,
    level: Annotated[float, typer.Option(help="Level of the interval, 0.5 to 0.98.")] = 0.90,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Forecast as if this day had just ended.")] = None,
    data: DataOption = None,
    model: ModelOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Write forecasts with all quantiles to this Parquet file.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which features and days moved each forecast (up to 20 strategies).")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Remember the forecasts for `aegis monitor` and `aegis trace`.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Forecast what strategies will pay: APY, interval, volatility, as-of date, data age.

    Examples:

      aegis predict --strategies aave lido delta --horizon 7

      aegis predict --strategies aave --explain

      aegis predict --all --output forecasts.parquet --data data/processed
    """
    from aegis_yield.domain.errors import RequestError
    from aegis_yield.pipelines.explain import ask_why, to_json_with
    from aegis_yield.pipelines.predict import Forecaster, Question
    from aegis_yield.reporting.console import forecast_table
    from aegis_yield.reporting.explanation_tables import explanation_table

    if every_strategy and strategies:
        raise RequestError("strategies", strategies, "either --strategies or --all, not both")
    last = parse_date("as-of", as_of)
    chosen = None if every_strategy else strategies
    question = Question(chosen, horizon, level, last)
    forecaster = Forecaster.open(data, model)
    if chosen is None and not every_strategy:
        question = Question(forecaster.names.defaults, horizon, level, last)
    answer, explanations = ask_why(forecaster, question) if explain else (forecaster.ask(question), [])
    if output is not None:
        _write(answer, output)
    if record:
        _record(answer)
    if as_json:
        typer.echo(json.dumps(to_json_with(answer, explanations), indent=2, allow_nan=False))
    else:
        out.print(forecast_table(answer))
        for row, explanation in zip(answer.rows, explanations, strict=False):
            out.print(explanation_table(row, explanation, answer.question.horizon_days))
    for note in answer.notes:
        notes.print(f"[yellow]note:[/] {escape(note)}")
    if answer.left_out:
        say(f"left out {len(answer.left_out)} strategies without enough recent history (30 rows in 60 days)")


def demo(
    data: DataOption = None,
    model: ModelOption = None,
    horizon: HorizonOption = 7,
    html: Annotated[Path, typer.Option(help="Report with pictures.")] = Path("reports/demo.html"),
) -> None:
    """Forecast the default strategies, show their risk, and allocate a million dollars over all; with an HTML report.

    Examples:

      aegis demo
    """
    from aegis_yield.pipelines.predict import Forecaster, Question
    from aegis_yield.reporting.console import forecast_table
    from aegis_yield.reporting.demo_page import write_demo_page

    forecaster = Forecaster.open(data, model)
    say(f"data: {forecaster.dataset.name}; model: {forecaster.model_version}")
    answer = forecaster.ask(Question(forecaster.names.defaults, horizon))
    out.print(forecast_table(answer))
    for note in answer.notes:
        notes.print(f"[yellow]note:[/] {escape(note)}")
    from aegis_yield.pipelines.allocate import demo_allocation
    from aegis_yield.pipelines.risk import outlook, risk_report
    from aegis_yield.reporting.allocation_tables import allocation_table, risk_table

    risks = risk_report(outlook(forecaster, Question(forecaster.names.defaults, RISK_HORIZON_DAYS)))
    out.print(risk_table(risks))
    allocation = demo_allocation(forecaster)
    out.print(allocation_table(allocation))
    write_demo_page(forecaster, answer, (risks, allocation), html)
    out.print(f"report: {html}", soft_wrap=True, markup=False)


def _record(answer: Answer) -> None:
    from aegis_yield.pipelines.record import record_forecasts, store_path

    ids = record_forecasts(answer)
    first = f"; follow one back with: aegis trace {ids[0]}" if ids else ""
    say(f"recorded {len(ids)} forecasts: {store_path()}{first}")


def _write(answer: Answer, path: Path) -> None:
    import polars as pl

    from aegis_yield.utils.files import write_atomically

    # The file outlives this command: each row says by what it was made, and whether from simulated data.
    made_by = {"model_version": answer.model_version, "simulated": answer.simulated}
    table = answer.forecasts.with_columns(**{name: pl.lit(value) for name, value in made_by.items()})
    write_atomically(path, table.write_parquet)
    say(f"forecasts of {len(answer.rows)} strategies: {path}")
