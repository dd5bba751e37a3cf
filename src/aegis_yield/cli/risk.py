"""``aegis risk``: what can go wrong with strategies."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from aegis_yield.cli.options import DataOption, HorizonOption, JsonFlag, ModelOption
from aegis_yield.cli.shared import notes, out


def risk(
    strategies: Annotated[
        list[str] | None, typer.Option("--strategies", help="Aliases or ids, several after one another.")
    ] = None,
    horizon: HorizonOption = 30,
    scenarios: Annotated[int, typer.Option(help="Ordinary scenarios; events come on top, exactly.")] = 1000,
    seed: Annotated[int, typer.Option(help="Same seed, same scenarios.")] = 0,
    data: DataOption = None,
    model: ModelOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what can go wrong with strategies over a horizon: CVaR, drawdown, loss events.

    Rates are drawn from the calibrated forecasts, prices and pegs from their history, exploits, depegs and defaults
    come with their probabilities from configs/hazards.toml.

    Examples:

      aegis risk --strategies aave lido delta --horizon 30
    """
    from aegis_yield.pipelines.risk import assess
    from aegis_yield.reporting.allocation_tables import risk_table
    from aegis_yield.risk.scenarios import Draw

    report = assess(strategies, horizon, data=data, model=model, draw=Draw(scenarios, seed))
    if as_json:
        typer.echo(json.dumps(plain(asdict(report)), indent=2, default=str, allow_nan=False))
    else:
        out.print(risk_table(report))
    for note in report.notes:
        notes.print(f"[yellow]note:[/] {escape(note)}")


def plain(value: Any) -> Any:
    """Return a nested value fit for JSON: what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
