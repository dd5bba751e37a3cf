"""Tables for the terminal: forecasts and scores as people read them."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.predict import Answer


def percent(value: float, digits: int = 2) -> str:
    """Return a fraction as percent for people."""
    return f"{100 * value:.{digits}f} %"


def forecast_table(answer: Answer) -> Table:
    """Return forecasts as a table: what is paid, how sure, from when."""
    level = f"{100 * answer.question.level:g} %"
    table = Table(
        title=f"Forecast for the next {answer.question.horizon_days} days"
        + (" (SIMULATED data)" if answer.simulated else ""),
        title_justify="left",
    )
    table.add_column("strategy")
    for name in ("now", "forecast", f"{level} interval", "volatility"):
        table.add_column(name, justify="right")
    table.add_column("as of")
    table.add_column("data age", justify="right")
    for row in answer.rows:
        name = row.name if row.name == row.strategy_id else f"{row.name} ({row.strategy_id})"
        age = "simulated" if answer.simulated else f"{row.data_age_days} d"
        interval = f"{percent(row.low)} … {percent(row.high)}"
        table.add_row(
            Text(name),
            percent(row.last_apy),
            percent(row.apy),
            interval,
            percent(row.volatility),
            str(row.as_of),
            age,
        )
    return table


def score_table(scores: dict[str, Any]) -> Table:
    """Return an evaluation's scores as a table, one row per forecaster."""
    table = Table(
        title=f"{scores['start']} … {scores['end']}, horizon {scores['horizon_days']} days, "
        f"{scores['n_forecasts']:,} forecasts at {scores['n_origins']} origins, "
        f"{scores['n_scored_strategies']} strategies scored",
        title_justify="left",
    )
    table.add_column("forecaster")
    headers = (
        "relMAE",
        "relCRPS",
        "cover 80",
        "cover 90",
        "cover 95",
        "width 90",
        "Winkler 90",
        "QLIKE med.",
    )
    for name in headers:
        table.add_column(name, justify="right")
    for name, card in scores["scores"].items():
        intervals = card["intervals"]
        table.add_row(
            name,
            f"{card['rel_mae']:.3f}",
            f"{card['rel_crps']:.3f}",
            *(percent(intervals[level]["coverage"], 1) for level in ("0.80", "0.90", "0.95")),
            percent(intervals["0.90"]["median_width"]),
            percent(intervals["0.90"]["winkler"], 1),
            f"{card['qlike_median']:.2f}",
        )
    return table


def category_table(scores: dict[str, Any]) -> Table:
    """Return relMAE by category, one column per forecaster, and the model's coverage."""
    cards = scores["scores"]
    model = next(iter(cards))
    table = Table(title="relMAE by category (last value = 1), and the model's 90 % coverage", title_justify="left")
    table.add_column("category")
    table.add_column("strategies", justify="right")
    for name in cards:
        table.add_column(name, justify="right")
    table.add_column("coverage", justify="right")
    for category, entry in cards[model]["rel_mae_by_category"].items():
        values = [f"{card['rel_mae_by_category'][category]['score']:.3f}" for card in cards.values()]
        coverage = cards[model]["coverage_90_by_category"].get(category, {}).get("coverage", float("nan"))
        table.add_row(category, str(entry["n_strategies"]), *values, percent(coverage, 1))
    return table
