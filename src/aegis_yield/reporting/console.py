"""Tables for the terminal: forecasts and scores as people read them."""

from __future__ import annotations

import math
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.predict import Answer

MAX_ROWS: Final = 100
"""A longer forecast table is cut: nobody reads it in a terminal."""


def percent(value: float, digits: int = 2) -> str:
    """Return a fraction as percent for people, a dash where there is none."""
    return f"{100 * value:.{digits}f}%" if math.isfinite(value) else "-"


def figure(value: float, digits: int = 3) -> str:
    """Return a score for people, a dash where too few outcomes are known for one."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def forecast_table(answer: Answer) -> Table:
    """Return forecasts as a table: what is paid, how sure, from when."""
    simulated = " (SIMULATED data)" if answer.simulated else ""
    table = _table(f"Forecast for the next {answer.question.horizon_days} days{simulated}")
    table.add_column("strategy", overflow="fold", min_width=8)
    for name in ("now", "forecast", f"{100 * answer.question.level:g}% interval", "volatility"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("as of", no_wrap=True)
    table.add_column("data age", justify="right", no_wrap=True)
    for row in answer.rows[:MAX_ROWS]:
        age = f"{row.data_age_days} d"
        interval = f"{percent(row.low)} … {percent(row.high)}"
        rates = (percent(row.last_apy), percent(row.apy), interval, percent(row.volatility))
        table.add_row(Text(row.name), *rates, str(row.as_of), age)
    lines = [f"{row.name} = {row.strategy_id}" for row in answer.rows if row.name != row.strategy_id]
    if len(answer.rows) > MAX_ROWS:
        lines.append(f"… and {len(answer.rows) - MAX_ROWS:,} more: write them all with --output, or use --json")
    table.caption, table.caption_justify = (Text("\n".join(lines), style="table.caption") if lines else None), "left"
    return table


def score_table(scores: dict[str, Any]) -> Table:
    """Return an evaluation's scores as a table, one row per forecaster."""
    table = _table(
        f"{scores['start']} … {scores['end']}, horizon {scores['horizon_days']} days: "
        f"{scores['n_forecasts']:,} forecasts at {scores['n_origins']} origins, "
        f"{scores['n_scored_strategies']} strategies scored{' (SIMULATED data)' if scores['data']['simulated'] else ''}"
    )
    table.add_column("forecaster", no_wrap=True)
    for name in ("relMAE", "relCRPS", "in 80", "in 90", "in 95", "width 90", "QLIKE"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, card in scores["scores"].items():
        intervals = card["intervals"]
        table.add_row(
            Text(name),
            figure(card["rel_mae"]),
            figure(card["rel_crps"]),
            *(percent(intervals[level]["coverage"], 1) for level in ("0.80", "0.90", "0.95")),
            percent(intervals["0.90"]["median_width"]),
            figure(card["qlike_median"], 2),
        )
    table.caption = "in 90: share of outcomes inside the 90 % interval; width and QLIKE: medians"
    table.caption_justify = "left"
    return table


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )


def category_table(scores: dict[str, Any]) -> Table:
    """Return relMAE by category, one column per forecaster, and the model's coverage."""
    cards = scores["scores"]
    model = next(iter(cards))
    table = _table("relMAE by category (last value = 1), and the model's 90 % coverage")
    table.add_column("category", no_wrap=True)
    for name in ("n", *cards, "in 90"):
        table.add_column(Text(name), justify="right")
    for category, entry in cards[model]["rel_mae_by_category"].items():
        values = [figure(card["rel_mae_by_category"][category]["score"]) for card in cards.values()]
        coverage = cards[model]["coverage_90_by_category"].get(category, {}).get("coverage", float("nan"))
        table.add_row(category, str(entry["n_strategies"]), *values, percent(coverage, 1))
    return table
