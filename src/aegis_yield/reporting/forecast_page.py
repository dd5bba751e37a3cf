"""The forecast report: what the chosen strategies will pay, with fan charts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import polars as pl

from aegis_yield.pipelines.predict import Answer, Forecaster, Question
from aegis_yield.reporting.charts import fan_chart
from aegis_yield.reporting.console import percent
from aegis_yield.reporting.html import Page

FAN_HORIZONS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 30)
HISTORY_DAYS: Final = 120

SIMULATED_BANNER: Final = (
    "SIMULATED DATA. These strategies carry real names but a made-up market: "
    "no number here says anything about a real one."
)


def write_forecast_page(forecaster: Forecaster, answer: Answer, path: Path) -> None:
    """Write the report of an answer as one HTML file.

    Parameters
    ----------
    forecaster : Forecaster
        That gave the answer; asked again for the other horizons of the fan charts.
    answer : Answer
        What to report.
    path : Path
        Where the page goes.
    """
    page = forecast_page(forecaster, answer)
    add_forecast(page, forecaster, answer)
    page.write(path)


def forecast_page(forecaster: Forecaster, answer: Answer) -> Page:
    """Return an empty page with the heading of an answer."""
    return Page(
        title=f"What the next {answer.question.horizon_days} days will pay",
        lead=f"Model {answer.model_version}; data: {forecaster.dataset.name}, "
        f"{forecaster.dataset.yields.height:,} rows to {forecaster.dataset.last_date}.",
        banner=SIMULATED_BANNER if answer.simulated else "",
    )


def add_forecast(page: Page, forecaster: Forecaster, answer: Answer) -> None:
    """Add an answer to a page: a table, and for each strategy its history with the forecast by horizon."""
    question = answer.question
    level = f"{100 * question.level:g} % interval"
    page.table(
        ["strategy", "now", "forecast", level, "volatility", "as of", "data age"],
        [
            [
                f"{row.name} ({row.strategy_id})", percent(row.last_apy), percent(row.apy),
                f"{percent(row.low)} … {percent(row.high)}", percent(row.volatility), str(row.as_of),
                "simulated" if answer.simulated else f"{row.data_age_days} days",
            ]
            for row in answer.rows
        ],
        caption="APY that a depositor of the horizon earns, annualised; volatility of the daily rate, annualised.",
    )  # fmt: skip
    for note in answer.notes:
        page.paragraph(f"Note: {note}.")
    page.heading("History and forecast by horizon")
    fans = _fans(forecaster, question)
    for row in answer.rows:
        history = forecaster.dataset.yields.filter(
            (pl.col("strategy_id") == row.strategy_id)
            & (pl.col("date") <= row.as_of)
            & (pl.col("date") > row.as_of - dt.timedelta(days=HISTORY_DAYS))
        )
        own = fans.filter(pl.col("strategy_id") == row.strategy_id).sort("horizon_days")
        page.figure(fan_chart(f"{row.name}: {row.strategy_id}", history, own))


def _fans(forecaster: Forecaster, question: Question) -> pl.DataFrame:
    answers = (
        forecaster.ask(Question(question.strategies, horizon, question.level, question.as_of))
        for horizon in FAN_HORIZONS
    )
    return pl.concat(answer.forecasts for answer in answers).with_columns(
        (pl.col("origin") + pl.duration(days=pl.col("horizon_days"))).alias("date")
    )
