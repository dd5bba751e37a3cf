"""Tables that say why a forecast is what it is, for the terminal."""

from __future__ import annotations

import datetime as dt

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.explain import Explanation
from aegis_yield.pipelines.predict import StrategyForecast
from aegis_yield.reporting.console import percent


def points(value: float) -> str:
    """Return a difference of two rates in percentage points for people, with its sign."""
    return f"{round(100 * value, 3) + 0.0:+.3f}"  # nothing is not "-0.000"


def explanation_table(row: StrategyForecast, explanation: Explanation, horizon_days: int) -> Table:
    """Return the way from a strategy's average rate to its forecast, step by step.

    Parameters
    ----------
    row : StrategyForecast
        The forecast.
    explanation : Explanation
        Its parts.
    horizon_days : int
        Days ahead.
    """
    table = Table(title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title = Text(f"Why {percent(row.apy)} for {row.name}, {horizon_days} days from {row.as_of}")
    table.add_column("from the average rate to the forecast", overflow="fold")
    table.add_column("today", justify="right", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_row("average rate of the last days (EWMA)", "", percent(explanation.ewma, 3))
    table.add_row(f"today's rate is {percent(row.last_apy, 3)}", "", points(explanation.today_over_ewma))
    usual = f"usual drift of {row.category} strategies when nothing has happened"
    table.add_row(usual, "", points(explanation.usual_drift), end_section=True)
    for feature in explanation.features:
        table.add_row(Text(f"{feature.name}: {feature.meaning}"), f"{feature.value:.3g}", points(feature.apy))
    table.add_row("all other features", "", points(explanation.other_features), end_section=True)
    table.add_row("shape, calibration and floor", "", points(explanation.calibration))
    table.add_row("forecast", "", percent(explanation.apy, 3))
    families = [f"{name} {points(apy)}" for name, apy in explanation.families.items()]
    days = [f"{_short(day)} {points(apy)}" for day, apy in explanation.days.items()]
    caption = f"features by family: {', '.join(families)}\nfeatures by day: {', '.join(days)}"
    table.caption, table.caption_justify = Text(caption, style="table.caption"), "left"
    return table


def _short(day: dt.date) -> str:
    return f"{day:%m-%d}"
